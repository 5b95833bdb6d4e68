"""Token states to one vector per text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ehrdb.encoder.manifest import Manifest, Pooling

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


def pool(states: Floats, lengths: Integers, skipped: Integers, pooling: Pooling) -> Floats:
    """Pool token states (n, tokens, dimension), padded on the right, to (n, dimension).

    Row i holds `lengths[i]` tokens. Means leave out padding and the first `skipped[i]` tokens. The paper's
    own script averages over padding too where chunks are batched; that makes a vector depend on its
    neighbours in the batch, so it is not reproduced.
    """
    if pooling == "cls":
        return np.asarray(states[:, 0], dtype=np.float32)
    if pooling == "last_token":
        return np.asarray(states[np.arange(len(states)), lengths - 1], dtype=np.float32)
    rows = zip(states, lengths, skipped, strict=True)
    return np.stack([row[skip:length].mean(axis=0, dtype=np.float32) for row, length, skip in rows])


def join_chunks(vectors: Floats, chunks_per_text: list[int], manifest: Manifest) -> Floats:
    """One vector per text from its chunks' vectors: cut, averaged or joined, and scaled as the manifest says."""
    texts = np.split(vectors, np.cumsum(chunks_per_text)[:-1])
    if manifest.chunking == "concat":
        joined = np.zeros((len(texts), manifest.max_chunks * vectors.shape[1]), dtype=np.float32)
        for row, chunks in zip(joined, texts, strict=True):
            row[: chunks.size] = chunks.ravel()
    else:
        joined = np.stack([chunks.mean(axis=0) for chunks in texts])
    joined = joined[:, : manifest.dimension]
    if manifest.normalize:
        joined = joined / np.linalg.norm(joined, axis=1, keepdims=True)
    return np.asarray(joined, dtype=np.float32)
