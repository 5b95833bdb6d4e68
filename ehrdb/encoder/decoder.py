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

from ehrdb.encoder.manifest import GRAPH
from ehrdb.encoder.source import ModelSource

OPSET = 23  # the first with attention, rotary embedding and RMS norm
Attention = Callable[..., tuple[torch.Tensor, None]]


def write_decoder(source: ModelSource, folder: Path) -> None:
    """Export the model in `source` to `folder`, weights in a file beside the graph."""
    AttentionInterface.register("ehrdb", _causal_attention if source.is_causal else _full_attention)
    model = AutoModel.from_pretrained(source.folder, attn_implementation="ehrdb", dtype=torch.float32).eval()
    ids = torch.ones((2, 8), dtype=torch.int64)
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    dynamic = {0: batch, 1: tokens}
    program = torch.onnx.export(
        _HiddenStates(model),
        (ids, torch.ones_like(ids)),
        dynamo=True,
        opset_version=OPSET,
        input_names=["input_ids", "attention_mask"],
        output_names=["last_hidden_state"],
        dynamic_shapes={"input_ids": dynamic, "attention_mask": dynamic},
        verbose=False,
    )
    assert program is not None
    program.save(folder / GRAPH, external_data=True)
    _strip(folder / GRAPH)


def _strip(graph: Path) -> None:
    """Take out where in which Python file each node was traced: else every machine makes another digest."""
    model = onnx.load(graph, load_external_data=False)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, graph)


class _HiddenStates(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Token ids and mask in, last hidden states out; attention finds `mask` among its arguments."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(input_ids.shape[1])[None].expand(input_ids.shape)
        outputs = self._model(input_ids=input_ids, position_ids=positions, use_cache=False, mask=attention_mask)
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
        attrs={"num_heads": heads, "kv_num_heads": key.shape[1], "scale": scaling},
        dtypes=(query.dtype,) * 3,
        shapes=((batch, tokens, heads * size), shared, shared),
        version=1,
    )
    return attended.view(batch, tokens, heads, size), None


def _full_attention(
    _: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    mask: torch.Tensor,
    **others: object,
) -> tuple[torch.Tensor, None]:
    """ONNX's Attention in both directions, blind to padding."""
    batch, _heads, tokens, _size = query.shape
    seen = mask.bool()[:, None, None, :].expand(batch, 1, tokens, tokens)
    attended = torch.onnx.ops.attention(query, key, value, attn_mask=seen, scale=scaling)[0]
    return attended.transpose(1, 2), None
