"""Products of integers: each row of activations and each column of weights with a scale of its own (W8A8).

A row is scaled by its largest absolute value alone, so texts side by side never meet: the same text has the same
vector in any batch. Stock operators, but for ONNX Runtime's product that turns its sums into floats itself:

    scale = max(|row|) / 127          q = row / scale + 128 (uint8)          row . W = scale * (q . Wq) * scales of W
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from ehrdb.encoder.pooling import Floats

LEVELS = {"int8": 127, "int7": 63}
"""Largest weight of each precision. At 63 no processor's pairwise sums overflow: 2 x 255 x 63 < 2**15."""
ZERO = 128  # where uint8 has its zero: unsigned activations are what processors multiply fastest
SMALLEST = np.float32(1e-30)
"""Scale of a row of zeros: dividing by it leaves them zeros."""
ROWS = 128  # of each product and run that its error is measured on

Feeds = dict[str, Any]
"""What one run of a graph takes, by name."""


def products(model: Any) -> list[str]:
    """The products with constant weights, by the name of what they give, in the graph's order."""
    weights = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 2}
    return [node.output[0] for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]


def quantize_products(model: Any, levels: int, wide: Collection[str] = ()) -> None:
    """Rewrite `model` in place: all products but those in `wide` multiply integers. `levels`: largest weight."""
    rewriting = _Rewriting(model, levels)
    chosen = set(products(model)) - set(wide)
    nodes: list[Any] = []
    for node in model.graph.node:
        nodes += rewriting.product(node) if node.output[0] in chosen else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    rewriting.replace_weights()


def by_error(graph: Path, levels: int, runs: Sequence[Feeds]) -> list[str]:
    """The products of the graph in that file, the one that integers harm most first.

    Measured on `runs` (what the graph takes): how far each product with the graph's own inputs is off, in shares
    of what it gives.
    """
    model = onnx.load(graph)
    nodes = {node.output[0]: node for node in model.graph.node}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    names = products(model)
    errors = dict.fromkeys(names, 0.0)
    for states in _inputs(graph, sorted({nodes[name].input[0] for name in names}), runs):
        for name in names:
            rows = states[nodes[name].input[0]]
            errors[name] += _error(rows, numpy_helper.to_array(weights[nodes[name].input[1]]), levels)
    return sorted(names, key=lambda name: -errors[name])


class _Rewriting:
    """The nodes of one graph's integer products; what feeds several products is quantized once."""

    def __init__(self, model: Any, levels: int) -> None:
        self._graph = model.graph
        self._levels = levels
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._quantized: set[str] = set()
        self._new: dict[str, Any] = {}

    def product(self, node: Any) -> Iterator[Any]:
        rows, weight = node.input
        given = node.output[0]
        if rows not in self._quantized:
            self._quantized.add(rows)
            yield from self._rows(rows, self._weights[weight].dims[0])
        columns = self._columns(weight, given)
        factors = [f"{rows}_q", f"{columns}_q", self._constant("one", np.float32(1)), f"{columns}_scales"]
        zero = self._constant("zero", np.uint8(ZERO))
        yield _node("MatMulIntegerToFloat", [*factors, zero], f"{given}_unscaled", domain="com.microsoft")
        yield _node("Mul", [f"{given}_unscaled", f"{rows}_scales"], given)

    def _rows(self, name: str, size: int) -> Iterator[Any]:
        """ONNX scales along the first axis of what it is given, hence the reshaping, which copies nothing."""
        high, low = (self._constant(key, np.float32(sign / 127)) for key, sign in (("high", 1), ("low", -1)))
        last, smallest = self._constant("last", np.array([-1])), self._constant("smallest", SMALLEST)
        flat = self._constant(f"flat_{size}", np.array([-1, size]))
        zero = helper.make_tensor("value", onnx.TensorProto.UINT8, [1], [ZERO])
        yield _node("ReduceMax", [name, last], f"{name}_max")
        yield _node("ReduceMin", [name, last], f"{name}_min")
        yield _node("Mul", [f"{name}_max", high], f"{name}_high")
        yield _node("Mul", [f"{name}_min", low], f"{name}_low")
        yield _node("Max", [f"{name}_high", f"{name}_low", smallest], f"{name}_scales")
        yield _node("Reshape", [f"{name}_scales", last], f"{name}_scale")
        yield _node("Shape", [f"{name}_scale"], f"{name}_count")
        yield _node("ConstantOfShape", [f"{name}_count"], f"{name}_zeros", value=zero)
        yield _node("Reshape", [name, flat], f"{name}_flat")
        yield _node("QuantizeLinear", [f"{name}_flat", f"{name}_scale", f"{name}_zeros"], f"{name}_flat_q", axis=0)
        yield _node("Shape", [name], f"{name}_shape")
        yield _node("Reshape", [f"{name}_flat_q", f"{name}_shape"], f"{name}_q")

    def _columns(self, weight: str, given: str) -> str:
        """What the integers are called. A product has its own, also where layers share weights (ALBERT's): of shared
        ones ONNX Runtime's exact way makes a graph that it cannot load."""
        name = weight if f"{weight}_q" not in self._new else f"{given}_columns"
        quantized, scales = quantized_columns(numpy_helper.to_array(self._weights[weight]), self._levels)
        self._new[f"{name}_q"], self._new[f"{name}_scales"] = quantized, scales
        return name

    def _constant(self, name: str, value: Any) -> str:
        self._new[f"integers_{name}"] = np.asarray(value)
        return f"integers_{name}"

    def replace_weights(self) -> None:
        used = {name for node in self._graph.node for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        self._graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self._new.items())


def _inputs(graph: Path, names: list[str], runs: Sequence[Feeds]) -> Iterator[dict[str, Floats]]:
    """What stands under these names in the graph, in each run: some rows (n, size) of it."""
    model = onnx.load(graph, load_external_data=False)
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    with tempfile.NamedTemporaryFile(dir=graph.parent, suffix=".onnx") as file:  # its weights lie beside it
        file.write(model.SerializeToString())
        file.flush()
        session = onnxruntime.InferenceSession(file.name, providers=["CPUExecutionProvider"])
    wanted = {node.name for node in session.get_inputs()}
    for run in runs:
        states = session.run(names, {name: value for name, value in run.items() if name in wanted})
        yield {
            name: np.asarray(value).reshape(-1, value.shape[-1])[-ROWS:]
            for name, value in zip(names, states, strict=True)
        }


def quantized_columns(weights: Floats, levels: int) -> tuple[Any, Floats]:
    """Weights (inputs, outputs) as int8 and one scale per output."""
    scales = np.maximum(np.abs(weights).max(axis=0) / np.float32(levels), SMALLEST).astype(np.float32)
    return np.rint(weights / scales).astype(np.int8), scales


def quantized_rows(rows: Floats) -> tuple[Any, Floats]:
    """Activations (n, inputs) as the graph quantizes them, without their zero point, and one scale per row."""
    scales = np.maximum(np.abs(rows).max(axis=1, keepdims=True) / np.float32(127), SMALLEST).astype(np.float32)
    return np.rint(rows / scales), scales


def _error(rows: Floats, weights: Floats, levels: int) -> float:
    q_rows, row_scales = quantized_rows(rows)
    q_weights, column_scales = quantized_columns(weights, levels)
    exact = rows @ weights
    got = q_rows @ q_weights.astype(np.float32) * row_scales * column_scales
    return float(np.linalg.norm(got - exact) / max(float(np.linalg.norm(exact)), 1e-30))


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, [output], name=output, **attributes)
