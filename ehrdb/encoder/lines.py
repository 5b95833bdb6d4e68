"""Records as the mean of their lines: each distinct line is embedded once, in whatever record it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ehrdb.encoder import Encoded, Encoder, in_order
from ehrdb.encoder.manifest import Manifest
from ehrdb.encoder.pooling import Floats
from ehrdb.errors import EmptyText, ItemError

TEXTS = 256  # to a batch
KEPT = 50_000
"""Lines whose vectors are kept, with 1,024 dimensions in some 200 MB; then all are let go, and found anew."""


class _Line(NamedTuple):
    vector: Floats
    tokens: int
    is_truncated: bool


class LineEncoder:
    """What `inner` gives for each line of a text, averaged; scaled to one where the manifest says so.

    Where formats write few distinct lines (list_graded), a million records cost hardly more than those lines.
    """

    def __init__(self, inner: Encoder) -> None:
        self._inner = inner
        self._kept: dict[str, _Line] = {}

    @property
    def manifest(self) -> Manifest:
        """The inner encoder's."""
        return self._inner.manifest

    def encode(self, texts: Sequence[str]) -> Encoded:
        """All vectors in the order of `texts`."""
        return in_order(self.manifest.dimension, self.encode_batches(texts))

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Encoded]]:
        """Batches in the order of the texts. Raises ItemError with the position of a text with a line that fails."""
        for start in range(0, len(texts), TEXTS):
            indices = list(range(start, min(start + TEXTS, len(texts))))
            lines = [_lines(index, texts[index]) for index in indices]
            self._learn(indices, lines)
            yield indices, self._joined(lines)

    def _learn(self, indices: list[int], lines: list[list[str]]) -> None:
        """Embed the lines that are new, each once."""
        if len(self._kept) > KEPT:
            self._kept.clear()
        first = {line: index for index, own in reversed(list(zip(indices, lines, strict=True))) for line in own}
        new = [line for line in first if line not in self._kept]
        try:
            encoded = self._inner.encode(new)
        except ItemError as error:
            index = first[new[error.index]]
            raise type(error)(f"a line of text {index} cannot be embedded", index=index) from None
        figures = zip(encoded.vectors, encoded.token_counts.tolist(), encoded.truncated.tolist(), strict=True)
        self._kept.update((line, _Line(*known)) for line, known in zip(new, figures, strict=True))

    def _joined(self, lines: list[list[str]]) -> Encoded:
        known = [[self._kept[line] for line in own] for own in lines]
        vectors = np.stack([np.mean([line.vector for line in own], axis=0, dtype=np.float64) for own in known])
        if self.manifest.normalize:
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Encoded(
            vectors.astype(np.float32),
            np.array([sum(line.tokens for line in own) for own in known], dtype=np.int64),
            np.array([any(line.is_truncated for line in own) for own in known], dtype=np.bool_),
        )


def _lines(index: int, text: str) -> list[str]:
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise EmptyText(f"text {index} holds nothing to embed", index=index)
    return lines
