"""Texts to vectors, with failing texts singled out: one poison record never blocks the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ehrdb.encoder import Encoded, Encoder
from ehrdb.errors import ItemError, RefreshError


@dataclass(frozen=True)
class Batch:
    """Vectors of the texts at `indices`."""

    indices: list[int]
    encoded: Encoded


@dataclass(frozen=True)
class Failure:
    """The text at `index` cannot be embedded; `reason` names the error's class and nothing of the text."""

    index: int
    reason: str


def embed(encoder: Encoder, texts: Sequence[str]) -> Iterator[Batch | Failure]:
    """Embed all texts, one without a letter as zeros; whatever fails is halved until the failing text stands alone.

    Raises RefreshError when texts fail that the encoder does not blame and another, harmless one fails too: then
    the system is at fault (memory, a device, a damaged model), not the texts.
    """
    if blank := [i for i, text in enumerate(texts) if not text]:
        yield Batch(blank, _zeros(encoder.manifest.dimension, len(blank)))
    groups = [[i for i, text in enumerate(texts) if text]]
    unblamed: list[Failure] = []
    groups = [group for group in groups if group]
    while groups:
        group = groups.pop()
        done: set[int] = set()
        try:
            for indices, encoded in encoder.encode_batches([texts[i] for i in group]):
                done.update(group[i] for i in indices)
                yield Batch([group[i] for i in indices], encoded)
        except ItemError as error:
            culprit = group[error.index]
            yield Failure(culprit, type(error).__name__)
            groups.append([i for i in group if i not in done and i != culprit])
        except Exception as error:
            rest = [i for i in group if i not in done]
            if len(rest) == 1:
                unblamed.append(Failure(rest[0], type(error).__name__))
            else:
                groups += [rest[: len(rest) // 2], rest[len(rest) // 2 :]]
        groups = [group for group in groups if group]
    if unblamed and not _works(encoder):
        raise RefreshError(
            f"the encoder fails on every text ({unblamed[0].reason})",
            hint="`ehrdb encoder verify` tests the encoder; no text was marked as failed for it.",
        )
    yield from unblamed


def _zeros(dimension: int, texts: int) -> Encoded:
    return Encoded(np.zeros((texts, dimension), np.float32), np.zeros(texts, np.int64), np.zeros(texts, np.bool_))


def _works(encoder: Encoder) -> bool:
    try:
        encoder.encode(["Heart rate: 72"])
    except Exception:
        return False
    return True
