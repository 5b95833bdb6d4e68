"""Encoders: texts to vectors. The worker needs onnxruntime, tokenizers and numpy; export needs torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ehrdb.encoder.manifest import Manifest


@dataclass(frozen=True)
class Encoded:
    """Vectors (n, dimension) as float32, tokens seen per text, and whether a text was longer than that."""

    vectors: npt.NDArray[np.float32]
    token_counts: npt.NDArray[np.int64]
    truncated: npt.NDArray[np.bool_]


class Encoder(Protocol):
    """Turns texts into vectors; the same text always gives the same vector, whatever stands beside it."""

    @property
    def manifest(self) -> Manifest:
        """What this encoder is."""
        ...

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Encoded]]:
        """Yield batches as they finish: positions in `texts` and their vectors.

        Raises ItemError (carrying the position) where one text cannot be embedded.
        """
        ...

    def encode(self, texts: Sequence[str]) -> Encoded:
        """All vectors in the order of `texts`."""
        ...


def in_order(dimension: int, batches: Iterator[tuple[list[int], Encoded]]) -> Encoded:
    """Put batches together in the order of the texts."""
    indices: list[int] = []
    parts = [Encoded(np.empty((0, dimension), np.float32), np.empty(0, np.int64), np.empty(0, np.bool_))]
    for positions, encoded in batches:
        indices += positions
        parts.append(encoded)
    order = np.argsort(indices)
    return Encoded(
        np.concatenate([part.vectors for part in parts])[order],
        np.concatenate([part.token_counts for part in parts])[order],
        np.concatenate([part.truncated for part in parts])[order],
    )
