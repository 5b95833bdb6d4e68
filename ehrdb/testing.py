"""A deterministic encoder without a model, for tests of everything around one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ehrdb.encoder import Encoded, in_order
from ehrdb.encoder.manifest import GRAPH, TOKENIZER, Manifest
from ehrdb.errors import EmptyText, ItemError


class FakeEncoder:
    """Unit vectors drawn from a hash of the text, in batches of `batch_size`.

    `fails` says which texts cannot be embedded; `calls` counts the texts that were asked for.
    """

    def __init__(
        self, dimension: int = 8, *, batch_size: int = 4, fails: Callable[[str], bool] = lambda text: False
    ) -> None:
        self.dimension, self.batch_size, self.fails = dimension, batch_size, fails
        self.calls = 0

    def encode(self, texts: Sequence[str]) -> Encoded:
        """All vectors in the order of `texts`."""
        return in_order(len(texts), self.encode_batches(texts))

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Encoded]]:
        """Batches in the order of `texts`; a failing text raises ItemError."""
        for start in range(0, len(texts), self.batch_size):
            indices = list(range(start, min(start + self.batch_size, len(texts))))
            for index in indices:
                if not texts[index]:
                    raise EmptyText(f"text {index} is empty", index=index)
                if self.fails(texts[index]):
                    raise ItemError(f"text {index} fails", index=index)
            self.calls += len(indices)
            vectors = np.stack([self._vector(texts[index]) for index in indices])
            counts = np.array([len(texts[index].split()) for index in indices], dtype=np.int64)
            yield indices, Encoded(vectors, counts, np.zeros(len(indices), dtype=np.bool_))

    def _vector(self, text: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
        vector = np.random.default_rng(seed).standard_normal(self.dimension)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def fake_manifest(name: str = "fake", dimension: int = 8, weights: str = "0") -> Manifest:
    """A manifest for a FakeEncoder; another `weights` makes another encoder."""
    return Manifest(
        name=name,
        source="fake",
        revision=None,
        architecture="fake",
        weights_digest=weights,
        pooling="mean",
        normalize=True,
        dimension=dimension,
        max_tokens=512,
        chunk_tokens=504,
        max_chunks=16,
        precision="fp32",
        prompt_template=False,
        parity=None,
        versions={},
        files={GRAPH: "0", TOKENIZER: "0"},
    )
