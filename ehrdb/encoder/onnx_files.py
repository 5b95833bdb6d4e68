"""A graph that came with the model (onnx/model.onnx, onnx/model_quantized.onnx), taken as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ehrdb.encoder.manifest import GRAPH, Pooling, Precision
from ehrdb.encoder.source import ModelSource
from ehrdb.encoder.tail import add_tail
from ehrdb.errors import ModelIncomplete, ModelNotSupported

STATES = ("last_hidden_state", "token_embeddings")
INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_QUANTIZED: dict[str, Precision] = {
    "DynamicQuantizeLinear": "int8",
    "MatMulInteger": "int8",
    "DynamicQuantizeMatMul": "int8",
    "QLinearMatMul": "int8",
    "QuantizeLinear": "int8",
    "DequantizeLinear": "int8",
    "MatMulNBits": "int4",
}


def take_graph(source: ModelSource, work: Path, name: str, pooling: Pooling) -> Precision:
    """Put the file, with its weights, pooling and the modules behind it, into `work`; say how precise it is.

    Raises ModelIncomplete where there is no such file, ModelNotSupported where it gives or takes something else.
    """
    path = source.root / name
    if not path.is_file():
        there = sorted(str(file.relative_to(source.root)) for file in source.root.rglob("*.onnx"))
        raise ModelIncomplete(f"{path} is missing", hint=f"ONNX files there: {', '.join(there) or 'none'}.")
    model = _load(path)
    _require_finite(model, path)
    _keep_states(model, path)
    if _has_big_weights(path):
        onnx.save(model, work / GRAPH, save_as_external_data=True, location=f"{GRAPH}.data")
        (work / f"{GRAPH}.data").chmod(0o644)
    else:
        onnx.save(model, work / GRAPH)
    add_tail(work / GRAPH, pooling, source.modules.layers)
    return _precision(model)


def _load(path: Path) -> Any:
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's and the system's
        raise ModelIncomplete(f"{path} cannot be read ({type(error).__name__})", hint="Download it again.") from None


def _require_finite(model: Any, path: Path) -> None:
    """In whatever row: the texts of the comparison do not read them all."""
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    for tensor in model.graph.initializer:
        if tensor.data_type in kinds and not np.isfinite(numpy_helper.to_array(tensor)).all():
            raise ModelIncomplete(f"{path}: {tensor.name} holds NaN or infinity", hint="Download the model again.")


def _keep_states(model: Any, path: Path) -> None:
    """Token states as the only output; refuse a graph that wants more than tokens."""
    more = {each.name for each in model.graph.input} - INPUTS - {each.name for each in model.graph.initializer}
    if more:
        raise ModelNotSupported(
            f"{path} takes {', '.join(sorted(more))}", hint=f"Supported: {', '.join(sorted(INPUTS))}; leave out --onnx."
        )
    states = [each for each in model.graph.output if each.name in STATES]
    if not states:
        gives = ", ".join(each.name for each in model.graph.output)
        raise ModelNotSupported(f"{path} gives {gives}", hint=f"Supported: {' or '.join(STATES)}; leave out --onnx.")
    del model.graph.output[:]
    model.graph.output.append(states[0])


def _has_big_weights(path: Path) -> bool:
    """Whether they are in a file of their own: a graph file holds 2 GB at most."""
    graph = onnx.load(path, load_external_data=False).graph
    return any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer)


def _precision(model: Any) -> Precision:
    """The least precise part decides."""
    found = {_QUANTIZED.get(node.op_type) for node in model.graph.node}
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return "int4" if "int4" in found else "int8" if "int8" in found else "fp16" if halves else "fp32"
