"""Token states to one vector per text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ehrdb.encoder.manifest import Pooling

Floats = npt.NDArray[np.float32]


def pool(states: Floats, mask: npt.NDArray[np.int64], pooling: Pooling) -> Floats:
    """Pool token states (n, tokens, dimension) to (n, dimension); padding (mask 0) never counts.

    The paper's own script averages over padding too where chunks are batched; that makes a vector depend on
    its neighbours in the batch, so it is not reproduced.
    """
    if pooling == "cls":
        return np.asarray(states[:, 0], dtype=np.float32)
    weights = mask[:, :, None].astype(np.float32)
    return np.asarray((states * weights).sum(axis=1) / weights.sum(axis=1), dtype=np.float32)


def join_chunks(vectors: Floats, chunks_per_text: list[int], normalize: bool) -> Floats:
    """Average each text's chunk vectors; unit length where the model asks for it."""
    starts = np.cumsum([0, *chunks_per_text[:-1]])
    means = np.add.reduceat(vectors, starts, axis=0) / np.asarray(chunks_per_text, dtype=np.float32)[:, None]
    if normalize:
        means = means / np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray(means, dtype=np.float32)
