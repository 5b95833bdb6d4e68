"""The graph of a language model's decoder: traced by PyTorch, with attention as one fused operator.

Nothing but hidden states comes out: no language-model head, no cached keys and values. PyTorch's exporter
recognizes the rotary embeddings and norms by itself. The rows of a batch are padded on the right: a causal
token never sees what follows it, so these models need no mask at all; others get one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from transformers import AttentionInterface, AutoModel

from ehrdb.encoder.fusion import fuse
from ehrdb.encoder.manifest import GRAPH
from ehrdb.encoder.source import ModelSource

OPSET = 23  # the first with attention, rotary embedding and RMS norm
Attention = Callable[..., tuple[torch.Tensor, None]]


def write_decoder(source: ModelSource, folder: Path, shares_prefix: bool) -> None:
    """Export the model in `source` to `folder`, weights in a file beside the graph.

    `shares_prefix`: texts that begin alike stand in one row, each seeing the common beginning and itself.
    """
    is_plain = source.is_causal and not shares_prefix
    AttentionInterface.register("ehrdb", _causal_attention if is_plain else _masked_attention)
    model = AutoModel.from_pretrained(source.folder, attn_implementation="ehrdb", dtype=torch.float32).eval()
    states = _SharedPrefix(model) if shares_prefix else _HiddenStates(model, source.is_causal)
    names = ["input_ids", "position_ids", "segment_ids"] if shares_prefix else ["input_ids", "attention_mask"]
    dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    program = torch.onnx.export(
        states,
        tuple(torch.ones((2, 8), dtype=torch.int64) for _ in names),
        dynamo=True,
        opset_version=OPSET,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_shapes=dict.fromkeys(names, dynamic),
        verbose=False,
    )
    assert program is not None
    program.save(folder / GRAPH, external_data=True)
    _strip(folder / GRAPH)
    fuse(folder / GRAPH, _head_size(model.config))


def _strip(graph: Path) -> None:
    """Take out where in which Python file each node was traced: else every machine makes another digest."""
    model = onnx.load(graph, load_external_data=False)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, graph)


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


class _HiddenStates(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Token ids and mask in, last hidden states out; attention finds `mask` among its arguments."""

    def __init__(self, model: Any, is_causal: bool) -> None:
        super().__init__()
        self._model = model
        self._is_causal = is_causal

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(input_ids.shape[1])[None].expand(input_ids.shape)
        tokens = input_ids.shape[1]
        mask = attention_mask if self._is_causal else attention_mask.bool()[:, None, :].expand(-1, tokens, tokens)
        return _states(self._model, input_ids, positions, mask)


class _SharedPrefix(torch.nn.Module):  # type: ignore[misc]
    """Segment 0 is the common beginning; a token sees what stands before it there and in its own segment."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def forward(self, input_ids: torch.Tensor, position_ids: torch.Tensor, segment_ids: torch.Tensor) -> torch.Tensor:
        order = torch.arange(input_ids.shape[1])
        own, other = segment_ids[:, :, None], segment_ids[:, None, :]
        mask = (order[None, :, None] >= order[None, None, :]) & ((other == 0) | (other == own))
        return _states(self._model, input_ids, position_ids, mask)


def _states(model: Any, input_ids: torch.Tensor, position_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    outputs = model(input_ids=input_ids, position_ids=position_ids, use_cache=False, mask=mask, positions=position_ids)
    states: torch.Tensor = outputs.last_hidden_state
    return states


def _causal_attention(
    _: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    mask: torch.Tensor,
    sliding_window: int | None = None,
    **others: object,
) -> tuple[torch.Tensor, None]:
    """ONNX Runtime's GroupQueryAttention over (batch, heads, tokens, size)."""
    batch, heads, tokens, size = query.shape
    shared = (batch, key.shape[1], tokens, size)
    lengths = mask.sum(1).to(torch.int32) - 1
    total = torch.scalar_tensor(tokens, dtype=torch.int32)
    joined = [states.transpose(1, 2).reshape(batch, tokens, -1) for states in (query, key, value)]
    attended, *_unused = torch.onnx.ops.symbolic_multi_out(
        "com.microsoft::GroupQueryAttention",
        (*joined, None, None, lengths, total),
        attrs={
            "num_heads": heads,
            "kv_num_heads": key.shape[1],
            "scale": scaling,
            "local_window_size": sliding_window or -1,
        },
        dtypes=(query.dtype,) * 3,
        shapes=((batch, tokens, heads * size), shared, shared),
        version=1,
    )
    return attended.view(batch, tokens, heads, size), None


def _masked_attention(
    _: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    mask: torch.Tensor,
    positions: torch.Tensor,
    sliding_window: int | None = None,
    **others: object,
) -> tuple[torch.Tensor, None]:
    """ONNX's Attention, each token seeing what `mask` (batch, tokens, tokens) and the layer's window let it."""
    if sliding_window:
        mask = mask & ((positions[:, :, None] - positions[:, None, :]).abs() < sliding_window)
    attended = torch.onnx.ops.attention(query, key, value, attn_mask=mask[:, None], scale=scaling)[0]
    return attended.transpose(1, 2), None
