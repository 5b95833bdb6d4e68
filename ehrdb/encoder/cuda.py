"""A decoder's graph as NVIDIA's cards run it: rewritten in memory where it is opened, its files stay as they are.

ONNX Runtime's attention for decoders has CUDA kernels for fp16 and bf16 alone. Weights stored as bf16 are widened on a
CPU; here all but the angles of positions and the pooling is computed in bf16, as such models were trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper


def computed_as_stored(graph: Path) -> bytes:
    """The graph of a decoder whose weights are bf16, for a session; the weights stay in their file beside it."""
    model = onnx.load(graph, load_external_data=False)
    _compute_as_stored(model.graph)
    serialized: bytes = model.SerializeToString()
    return serialized


def _compute_as_stored(graph: Any) -> None:
    """Leave out the widening of weights; narrow the angles where they are taken, widen states where they are pooled."""
    stored = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.BFLOAT16}
    widened = {node.output[0]: node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored}
    for node in graph.node:
        node.input[:] = [widened[name].input[0] if name in widened else name for name in node.input]
    angles = {node.output[0] for node in graph.node if node.op_type in ("Cos", "Sin")}
    pooled = {name for node in graph.node for name in node.input if _is_tail(node)} & _made_before_the_tail(graph)
    kept = [node for node in graph.node if node.output[0] not in widened]
    kept = _with_casts(kept, angles, TensorProto.BFLOAT16)
    kept = _with_casts(kept, pooled, TensorProto.FLOAT)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)


def _is_tail(node: Any) -> bool:
    return bool(node.name.startswith("tail_"))


def _made_before_the_tail(graph: Any) -> set[str]:
    return {name for node in graph.node if not _is_tail(node) for name in node.output}


def _with_casts(nodes: list[Any], names: set[str], kind: int) -> list[Any]:
    """These values in another number format for all who take them from the nodes that make them."""
    found = []
    for node in nodes:
        node.input[:] = [f"{name}_cast" if name in names else name for name in node.input]
        found.append(node)
        for name in names.intersection(node.output):
            found.append(helper.make_node("Cast", [name], [f"{name}_cast"], name=f"{name}_cast", to=kind))
    return found
