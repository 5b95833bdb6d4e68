"""The original model in PyTorch, to compare an export with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel

from ehrdb.encoder.manifest import Manifest
from ehrdb.encoder.pooling import Floats, Integers
from ehrdb.encoder.runtime import BatchingEncoder
from ehrdb.encoder.source import ModelSource
from ehrdb.encoder.tokenization import TextTokenizer


def original_encoder(source: ModelSource, directory: Path, manifest: Manifest) -> BatchingEncoder:
    """The model in `source` at full precision, one chunk at a time, with the export's tokenizer and pooling."""
    model = AutoModel.from_pretrained(source.folder, dtype=torch.float32).eval()
    both_ways = source.is_decoder and not source.is_causal

    def forward(ids: Integers, mask: Integers, pooling: Floats) -> Floats:
        seen = torch.from_numpy(mask)
        with torch.inference_mode():
            # Transformers takes a mask of four dimensions as it is: 0 for every pair of tokens.
            visible = torch.zeros((1, 1, ids.shape[1], ids.shape[1])) if both_ways else seen
            states = model(input_ids=torch.from_numpy(ids), attention_mask=visible).last_hidden_state
        return np.asarray(pooling @ states.numpy(), dtype=np.float32)[:, 0]

    return BatchingEncoder(manifest, TextTokenizer(directory, manifest), forward, run_tokens=1, parallel=1)
