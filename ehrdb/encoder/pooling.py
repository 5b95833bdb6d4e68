"""Token states to one vector per text: weights for the graph's last product, and what happens after it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ehrdb.encoder.manifest import Manifest, Pooling

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def pooling_weights(lengths: Integers, skipped: Integers, tokens: int, pooling: Pooling) -> Floats:
    """What each of `tokens` states counts in its text's vector: (n, 1, tokens).

    Row i holds `lengths[i]` tokens and padding behind them. Padding counts nothing, nor do the first `skipped[i]`
    tokens. Rows of means sum to 1; for the maximum, what counts at all is more than 0. The paper's own script
    averages over padding too where chunks are batched; that makes a vector depend on its neighbours in the batch,
    so it is not reproduced.
    """
    start, end = skipped[:, None], lengths[:, None]
    if pooling == "cls":
        end = start + 1
    elif pooling == "last_token":
        start = end - 1
    position = np.arange(tokens)
    counted = (position >= start) & (position < end)
    weights = counted * (position + 1) if pooling == "weighted_mean" else counted
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(weights / (np.sqrt(total) if pooling == "mean_sqrt_len" else total), dtype=np.float32)[:, None]


def join_chunks(vectors: Floats, chunks_per_text: list[int], manifest: Manifest) -> Floats:
    """One vector per text from its chunks' vectors: cut, averaged or joined, and scaled as the manifest says.

    unit_mean: each chunk's vector is scaled to one, their mean is not, as in the paper's study of chunked decoders.
    """
    if manifest.chunking == "unit_mean":
        vectors = vectors[:, : manifest.dimension]
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
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
