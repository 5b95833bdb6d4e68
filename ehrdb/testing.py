"""A stand-in encoder for tests: no model, the same interface, the same vector for the same text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ehrdb.encoder import Encoded, in_order
from ehrdb.encoder.manifest import Manifest
from ehrdb.errors import NonFiniteVector


@dataclass
class FakeEncoder:
    """Unit vectors seeded by the text's hash, in batches of `batch`; texts that hold `poison` fail.

    `seen` collects every text that was embedded, in that order.
    """

    dimension: int = 8
    batch: int = 4
    poison: str | None = None
    name: str = "fake"
    matryoshka: tuple[int, ...] = ()
    seen: list[str] = field(default_factory=list)

    @property
    def manifest(self) -> Manifest:
        """An identity that depends on name and dimension."""
        settings = {"pooling": "mean", "chunking": "none", "normalize": True, "precision": "fp32", "prefix": ""}
        sizes = {"dimension": self.dimension, "max_tokens": 512, "chunk_tokens": 504, "max_chunks": 1}
        made = {"source": "none", "revision": None, "architecture": "fake", "weights_digest": self.name}
        rest: dict[str, object] = {"prompt_template": False, "parity": None, "versions": {}, "files": {}}
        known = {"name": self.name, "matryoshka_dimensions": self.matryoshka}
        return Manifest.model_validate({**known, **settings, **sizes, **made, **rest})

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Encoded]]:
        """Batches in the order of the texts; NonFiniteVector where one holds `poison`."""
        for start in range(0, len(texts), self.batch):
            indices = list(range(start, min(start + self.batch, len(texts))))
            for index in indices:
                if self.poison is not None and self.poison in texts[index]:
                    raise NonFiniteVector(f"the vector of text {index} is not finite", index=index)
            self.seen += [texts[index] for index in indices]
            counts = np.array([len(texts[index].split()) for index in indices], dtype=np.int64)
            yield indices, Encoded(self._vectors([texts[i] for i in indices]), counts, counts > 512)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """All vectors in the order of `texts`."""
        return in_order(self.dimension, self.encode_batches(texts))

    def _vectors(self, texts: list[str]) -> npt.NDArray[np.float32]:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts]
        rows = np.stack([np.random.default_rng(seed).normal(size=self.dimension) for seed in seeds])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
