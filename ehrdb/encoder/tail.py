"""The end of every graph: token states and pooling weights to vectors, and the modules behind the pooling.

So no states leave the device that they are computed on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ehrdb.encoder.manifest import Pooling
from ehrdb.encoder.modules import Layer
from ehrdb.encoder.pooling import Floats
from ehrdb.errors import ModelIncomplete

LAYER_NORM_EPSILON = 1e-5  # PyTorch's, which sentence-transformers leaves as it is


def add_tail(graph: Path, pooling: Pooling, layers: tuple[Layer, ...]) -> None:
    """Add an input `pooling` (see pooling_weights) to a graph of token states, and make `vectors` its only output."""
    model = onnx.load(graph, load_external_data=False)
    states = model.graph.output[0].name
    pooled = _maximum(model, states) if pooling == "max" else _node(model, "MatMul", ["pooling", states], "pooled")
    for number, layer in enumerate(layers):
        pooled = _layer(model, pooled, layer, f"{layer.kind}_{number}")
    _node(model, "Identity", [pooled], "vectors")
    shapes = {"pooling": ["batch", "count", "tokens"], "vectors": ["batch", "count", "dimension"]}
    given, vectors = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in shapes)
    model.graph.input.append(given)
    del model.graph.output[:]
    model.graph.output.append(vectors)
    onnx.save(model, graph)


def _maximum(model: Any, states: str) -> str:
    """Over the tokens that weigh anything."""
    zero, least = _constant(model, "zero", 0.0), _constant(model, "least", float("-inf"))
    counts = _node(model, "Greater", ["pooling", zero], "counts")
    column = _node(model, "Transpose", [counts], "counts_column", perm=[0, 2, 1])
    kept = _node(model, "Where", [column, states, least], "counted_states")
    opset = next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    if opset < 18:
        return _node(model, "ReduceMax", [kept], "pooled", axes=[1], keepdims=1)
    axes = _constant(model, "token_axis", np.array([1]))
    return _node(model, "ReduceMax", [kept, axes], "pooled", keepdims=1)


def _layer(model: Any, vectors: str, layer: Layer, name: str) -> str:
    weights = _weights(layer)
    if layer.kind == "LayerNorm":
        constants = [_constant(model, f"{name}_{part}", weights[f"norm.{part}"]) for part in ("weight", "bias")]
        return _node(model, "LayerNormalization", [vectors, *constants], name, axis=-1, epsilon=LAYER_NORM_EPSILON)
    matrix = _constant(model, f"{name}_weight", np.ascontiguousarray(weights["linear.weight"].T))
    vectors = _node(model, "MatMul", [vectors, matrix], f"{name}_product")
    if "linear.bias" in weights:
        vectors = _node(
            model, "Add", [vectors, _constant(model, f"{name}_bias", weights["linear.bias"])], f"{name}_sum"
        )
    return _node(model, layer.activation, [vectors], name) if layer.activation else vectors


def _weights(layer: Layer) -> dict[str, Floats]:
    """Of a module's own file: safetensors, or PyTorch's of older models."""
    import torch
    from safetensors.torch import load_file

    new, old = layer.folder / "model.safetensors", layer.folder / "pytorch_model.bin"
    if not new.is_file() and not old.is_file():
        raise ModelIncomplete(f"{layer.folder} has no weights", hint=f"Expected {new.name} or {old.name}.")
    tensors = load_file(new) if new.is_file() else torch.load(old, map_location="cpu", weights_only=True)
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}


def _constant(model: Any, name: str, value: Any) -> str:
    array = np.asarray(value, dtype=np.float32) if not isinstance(value, np.ndarray) else value
    model.graph.initializer.append(numpy_helper.from_array(array, f"tail_{name}"))
    return f"tail_{name}"


def _node(model: Any, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
    model.graph.node.append(helper.make_node(kind, inputs, [output], name=f"tail_{output}", **attributes))
    return output
