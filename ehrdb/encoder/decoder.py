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
    AttentionInterface.register("ehrdb", _attention(source.is_causal, shares_prefix))
    model = AutoModel.from_pretrained(source.folder, attn_implementation="ehrdb", dtype=torch.float32).eval()
    states = _SharedPrefix(model) if shares_prefix else _HiddenStates(model, source.is_causal)
    names = ["input_ids", "position_ids", "visible"] if shares_prefix else ["input_ids", "attention_mask"]
    batch, tokens, own = (torch.export.Dim(name) for name in ("batch", "tokens", "own"))
    given = {name: (torch.ones((2, 8), dtype=torch.int64), {0: batch, 1: tokens}) for name in names}
    if shares_prefix:
        given["visible"] = torch.ones((2, 3, 8), dtype=torch.bool), {0: batch, 1: own, 2: tokens}
    program = torch.onnx.export(
        states,
        tuple(example for example, _ in given.values()),
        dynamo=True,
        opset_version=OPSET,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_shapes={name: shape for name, (_, shape) in given.items()},
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
    """A common beginning, whose tokens see what stands before them, and behind it own tokens, which see `visible`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def forward(self, input_ids: torch.Tensor, position_ids: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        return _states(self._model, input_ids, position_ids, visible)


def _states(model: Any, input_ids: torch.Tensor, position_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    outputs = model(input_ids=input_ids, position_ids=position_ids, use_cache=False, mask=mask, positions=position_ids)
    states: torch.Tensor = outputs.last_hidden_state
    return states


def _attention(is_causal: bool, shares_prefix: bool) -> Attention:
    if shares_prefix:
        return _shared_attention
    return _causal_attention if is_causal else _masked_attention


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
    """Each token sees what stands before it; `mask` (batch, tokens) says how many tokens a row has."""
    lengths = mask.sum(1).to(torch.int32) - 1
    return _grouped_attention(query, key, value, lengths, scaling, sliding_window), None


def _grouped_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: torch.Tensor,
    scaling: float,
    sliding_window: int | None,
) -> torch.Tensor:
    """ONNX Runtime's GroupQueryAttention over (batch, heads, tokens, size); `lengths` less one (batch)."""
    batch, heads, tokens, size = query.shape
    shared = (batch, key.shape[1], tokens, size)
    total = torch.scalar_tensor(tokens, dtype=torch.int32)
    joined = [states.transpose(1, 2).reshape(batch, tokens, states.shape[1] * size) for states in (query, key, value)]
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
    grouped: torch.Tensor = attended.view(batch, tokens, heads, size)
    return grouped


def _shared_attention(
    module: torch.nn.Module,
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
    """The common beginning needs no mask; the own tokens behind it see what `mask` (batch, own, tokens) lets them."""
    start = query.shape[2] - mask.shape[1]
    lengths = torch.scalar_tensor(start - 1, dtype=torch.int32).expand(query.shape[0])
    beginning = _grouped_attention(
        query[:, :, :start], key[:, :, :start], value[:, :, :start], lengths, scaling, sliding_window
    )
    own, _ = _masked_attention(
        module,
        query[:, :, start:],
        key,
        value,
        None,
        scaling=scaling,
        mask=mask,
        positions=positions,
        sliding_window=sliding_window,
    )
    return torch.cat([beginning, own], dim=1), None


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
    """ONNX's Attention; each of the last tokens sees what `mask` (batch, last, tokens) and the window let it."""
    if sliding_window:
        last = positions[:, positions.shape[1] - mask.shape[1] :]
        mask = mask & ((last[:, :, None] - positions[:, None, :]).abs() < sliding_window)
    attended = torch.onnx.ops.attention(query, key, value, attn_mask=mask[:, None], scale=scaling)[0]
    return attended.transpose(1, 2), None
