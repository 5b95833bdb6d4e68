"""Texts that begin alike, computed as one: the common beginning once, behind it each text's own end.

With the instruction behind the timeline, all tasks of a timeline are such texts. In a causal model a token's
state depends on nothing behind it, so what would be cached keys and values is computed in place: one row holds
the beginning and all ends, and a small mask, of the ends alone, keeps them from seeing each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from ehrdb.encoder.pooling import Flags, Floats, Integers
from ehrdb.encoder.tokenization import Chunk

OWN_TOKENS = 1024  # of all ends in one row at most; memory grows with the square of a row's tokens


@dataclass(frozen=True)
class Group:
    """Chunks (their positions are `rows`) whose first `len(beginning)` tokens are the same, and their ends."""

    rows: list[int]
    beginning: list[int]
    ends: list[list[int]]

    def feeds(self) -> dict[str, Integers | Floats | Flags]:
        """What the graph takes; a text's vector is the state of its last token."""
        beginning = self.beginning or [0]  # the graph wants one: nobody sees it
        start, sizes = len(beginning), [len(end) for end in self.ends]
        positions = np.concatenate([np.arange(start), *(len(self.beginning) + np.arange(size) for size in sizes)])
        last = start + np.cumsum(sizes) - 1
        pooling = np.zeros((1, len(sizes), len(positions)), dtype=np.float32)
        pooling[0, np.arange(len(sizes)), last] = 1
        row = {"input_ids": np.array(sum(self.ends, beginning), dtype=np.int64), "position_ids": positions}
        return {name: values[None] for name, values in row.items()} | {"pooling": pooling, "visible": self._visible()}

    def _visible(self) -> Flags:
        """(1, own tokens, tokens): all of the beginning, and what stands before a token in its own end."""
        ends = np.repeat(np.arange(len(self.ends)), [len(end) for end in self.ends])
        order = np.arange(len(ends))
        own = (ends[:, None] == ends) & (order[:, None] >= order)
        common = np.full((len(ends), max(1, len(self.beginning))), bool(self.beginning))
        return np.concatenate([common, own], axis=1)[None]


def groups(chunks: Sequence[Chunk]) -> Iterator[Group]:
    """Chunks of the same text side by side, in groups of up to OWN_TOKENS tokens of their own."""
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row, chunk in enumerate(chunks):
        alike[tuple(chunk.ids[: chunk.shared])].append(row)
    for rows in alike.values():
        own = max(len(chunks[row]) - chunks[row].shared for row in rows)
        size = max(1, OWN_TOKENS // max(1, own))
        for start in range(0, len(rows), size):
            yield _group(chunks, rows[start : start + size])


def _group(chunks: Sequence[Chunk], rows: list[int]) -> Group:
    """Each end keeps at least its last token, whose state is wanted."""
    texts = [chunks[row].ids for row in rows]
    alike = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*texts, strict=False))
    common = min(sum(1 for _ in alike), *(len(ids) - 1 for ids in texts))
    return Group(rows, texts[0][:common], [ids[common:] for ids in texts])
