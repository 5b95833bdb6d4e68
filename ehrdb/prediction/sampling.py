"""Few-shot samples: which rows of a split train and validate one replicate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHOTS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 128)
"""The paper's numbers of examples per class; ALL beside them means every row."""
ALL = -1


def sample_shots(labels: NDArray[np.int64], k: int, replicate: int) -> NDArray[np.int64]:
    """Positions of k rows of class 0, then k of class 1, within one split; every position for k = ALL.

    `replicate` is the seed. It seeds each class anew, so samples of smaller k are prefixes of larger ones,
    and rows repeat only once k exceeds the size of the class (`6_generate_shots.py`).
    """
    if k == ALL:
        return np.arange(len(labels))
    return np.concatenate([_draw(np.flatnonzero(labels == value), k, replicate) for value in (0, 1)])


def _draw(positions: NDArray[np.int64], k: int, seed: int) -> NDArray[np.int64]:
    random = np.random.RandomState(seed)
    largest = max(k, SHOTS[-1])
    drawn = random.choice(positions, size=min(len(positions), largest), replace=False)
    if len(positions) < largest:
        drawn = np.append(drawn, random.choice(positions, size=largest - len(positions), replace=True))
    return drawn[:k]
