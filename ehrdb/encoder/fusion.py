"""A traced decoder in operators that ONNX Runtime runs as one: the same numbers, fewer passes over the states.

    Add, then RMSNormalization     SkipSimplifiedLayerNormalization, which gives the sum too
    RMSNormalization               SimplifiedLayerNormalization
    x * Sigmoid(x)                 QuickGelu
    RotaryEmbedding twice          inside GroupQueryAttention, which then takes queries and keys as they are

What does not look like this stays as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

FUSED = "com.microsoft"
TURNED = [0, 2, 1, 3]  # (batch, tokens, heads, size) to (batch, heads, tokens, size), and back
ROTARY_STEP = 16  # GroupQueryAttention turns heads whose size is a multiple of this
FIRST_ROW = "first_row"


def fuse(graph: Path, head_size: int) -> None:
    """Rewrite the graph in that file; its weights, in a file beside it, are left alone."""
    model = onnx.load(graph, load_external_data=False)
    fusion = _Fusion(model.graph)
    if head_size % ROTARY_STEP == 0:
        fusion.rotaries()
    fusion.activations()
    fusion.norms()
    fusion.sweep()
    onnx.save(model, graph)


def hold_angles(model: Any) -> list[str]:
    """Names of the nodes that make cosines and sines of positions: half precision would ruin those of far tokens.

    The types of what they hand to one another are taken out of `model`, or the converter would round there, too.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    waiting = [node for node in model.graph.node if node.op_type in ("Cos", "Sin")]
    given = [node.output[0] for node in waiting]
    found: dict[str, Any] = {}
    while waiting:
        node = waiting.pop()
        found[node.name] = node
        waiting += [makers[name] for name in node.input if name in makers and makers[name].name not in found]
    inner = {name for node in found.values() for name in node.output}
    others = [value for value in model.graph.value_info if value.name not in inner]
    del model.graph.value_info[:]
    model.graph.value_info.extend(others)
    model.graph.value_info.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in given)
    return list(found)


def keep_no_cache(graph: Path) -> None:
    """Attention hands out no keys and values: ONNX Runtime frees what nobody takes only when the whole run has ended.

    Of Qwen3-Embedding-0.6B they are 112 MB in a run of 512 tokens.
    """
    model = onnx.load(graph, load_external_data=False)
    taken = {name for node in model.graph.node for name in node.input} | {each.name for each in model.graph.output}
    for node in model.graph.node:
        if node.op_type == "GroupQueryAttention" and taken.isdisjoint(node.output[1:]):
            del node.output[1:]
    onnx.save(model, graph)


class _Fusion:
    """One graph, and which node makes what in it."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._makers = {name: node for node in graph.node for name in node.output}
        self._weights = {tensor.name for tensor in graph.initializer}

    def rotaries(self) -> None:
        """Attention turns queries and keys itself, by the first row's cosines and sines: all rows' are alike."""
        for attention in [node for node in self._graph.node if node.op_type == "GroupQueryAttention"]:
            joined = [self._makers[name] for name in attention.input[:2]]
            rotaries = [self._behind(each, "Reshape", "Transpose") for each in joined]
            turned = [self._turned(rotary) for rotary in rotaries]
            if None in turned:
                continue
            for reshape, states in zip(joined, turned, strict=True):
                reshape.input[0] = self._unturned(states)
            attention.input.extend(self._first_row(name) for name in rotaries[0].input[1:3])
            attention.attribute.append(helper.make_attribute("do_rotary", 1))

    def _behind(self, node: Any, *kinds: str) -> Any:
        """The node that feeds these kinds of nodes, the first of which is `node`; None where they are others."""
        for kind in kinds:
            if node is None or node.op_type != kind:
                return None
            node = self._makers.get(node.input[0])
        return node

    def _turned(self, rotary: Any) -> Any:
        """The last node before a rotary embedding of whole heads: their Transpose, or the norm behind that."""
        if rotary is None or rotary.op_type != "RotaryEmbedding":
            return None
        settings = _settings(rotary)
        if settings.get("interleaved") or settings.get("rotary_embedding_dim"):
            return None
        node = self._makers.get(rotary.input[0])
        transpose = self._behind(node, "RMSNormalization") or node
        is_turn = transpose is not None and transpose.op_type == "Transpose" and _settings(transpose)["perm"] == TURNED
        return node if is_turn else None

    def _unturned(self, node: Any) -> str:
        """What stands before the Transpose; the norm of each head, if there is one, now works on that."""
        if node.op_type == "Transpose":
            return str(node.input[0])
        node.input[0] = self._makers[node.input[0]].input[0]
        return str(node.output[0])

    def _first_row(self, name: str) -> str:
        """Of (batch, tokens, angles): what all its rows are."""
        row = f"{name}_{FIRST_ROW}"
        if row not in self._makers:
            if all(tensor.name != FIRST_ROW for tensor in self._graph.initializer):
                self._graph.initializer.append(numpy_helper.from_array(np.array(0), FIRST_ROW))
            gather = _node("Gather", [name, FIRST_ROW], [row], axis=0)
            self._makers[row] = gather
            self._graph.node.insert(_position(self._graph, self._makers[name]) + 1, gather)
        return row

    def activations(self) -> None:
        """SiLU is QuickGelu with an alpha of one."""
        for node in self._graph.node:
            sigmoid = self._makers.get(node.input[1]) if node.op_type == "Mul" else None
            if sigmoid is not None and sigmoid.op_type == "Sigmoid" and sigmoid.input[0] == node.input[0]:
                fused = _node("QuickGelu", node.input[:1], node.output, domain=FUSED, alpha=1.0)
                node.CopyFrom(fused)

    def norms(self) -> None:
        """A sum and its norm where the sum was; other norms where they were."""
        for norm in [node for node in self._graph.node if node.op_type == "RMSNormalization"]:
            add = self._makers.get(norm.input[0])
            if add is not None and add.op_type == "Add" and norm.input[1] in self._weights.difference(add.input):
                add.CopyFrom(_summed_norm(add, norm))
                self._graph.node.remove(norm)
            else:
                norm.op_type = "SimplifiedLayerNormalization"

    def sweep(self) -> None:
        """Take out what nobody takes any more, in whatever order nodes stand: casts stand at the end."""
        makers = {name: node for node in self._graph.node for name in node.output if name}
        waiting = [value.name for value in self._graph.output]
        wanted: set[str] = set()
        while waiting:
            node = makers.get(waiting.pop())
            if node is not None and node.output[0] not in wanted:
                wanted.add(node.output[0])
                waiting += node.input
        kept = [node for node in self._graph.node if node.output[0] in wanted]
        del self._graph.node[:]
        self._graph.node.extend(kept)


def _summed_norm(add: Any, norm: Any) -> Any:
    outputs = [norm.output[0], "", "", add.output[0]]
    inputs, epsilon = [*add.input, norm.input[1]], _settings(norm)["epsilon"]
    return _node("SkipSimplifiedLayerNormalization", inputs, outputs, domain=FUSED, epsilon=epsilon)


def _settings(node: Any) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _position(graph: Any, node: Any) -> int:
    return next(i for i, each in enumerate(graph.node) if each.output[0] == node.output[0])


def _node(kind: str, inputs: Any, outputs: Any, **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), list(outputs), name=f"fused_{outputs[0]}", **attributes)
