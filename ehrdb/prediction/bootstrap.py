"""Intervals from a bootstrap over patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

REPLICATES = 1000


@dataclass(frozen=True)
class Estimate:
    """A metric on the whole test set with the spread of its bootstrap replicates.

    std: sample standard deviation; lower, upper: 2.5 and 97.5 percentiles; mean: mean of the replicates. They
    are NaN when a replicate drew one class only and the metric does not exist there.
    """

    score: float
    std: float
    lower: float
    upper: float
    mean: float


@dataclass(frozen=True)
class Drawing:
    """Patients (or rows) of a test set and how often each was drawn.

    patient: (rows,) index of every row's patient among the sorted distinct patients; each its own where rows are drawn.
    counts: (patients, 1 + replicates); column 0 takes every patient once, so it is the test set itself.
    """

    patient: Integers
    counts: Floats


def draw_patients(patient_ids: Integers, replicates: int = REPLICATES) -> Drawing:
    """Draw the sorted distinct patients with replacement as `sklearn.utils.resample` does with seed i."""
    distinct, patient = np.unique(patient_ids, return_inverse=True)
    size = len(distinct)
    counts = np.ones((1 + replicates, size))
    random = np.random.RandomState()  # seeded anew for each: to make one takes ten times as long
    for seed in range(replicates):
        random.seed(seed)
        counts[1 + seed] = np.bincount(random.randint(0, size, size), minlength=size)
    return Drawing(patient, np.ascontiguousarray(counts.T))


def draw_rows(patient_ids: Integers, replicates: int = REPLICATES) -> Drawing:
    """Draw rows instead, as the paper does in the UK Biobank: one generator, seeded with 42, for all replicates."""
    size = len(patient_ids)
    generator = np.random.default_rng(42)
    counts = np.ones((size, 1 + replicates))
    for replicate in range(replicates):
        counts[:, 1 + replicate] = np.bincount(generator.choice(size, size), minlength=size)
    return Drawing(np.arange(size), counts)


DRAWINGS: dict[str, Callable[[Integers, int], Drawing]] = {"patients": draw_patients, "rows": draw_rows}
"""What a bootstrap may draw."""


def estimate(values: Floats) -> Estimate:
    """The first value with the spread of the others."""
    score, replicates = values[0], values[1:]
    lower, upper = np.percentile(replicates, [2.5, 97.5])
    return Estimate(float(score), float(replicates.std(ddof=1)), float(lower), float(upper), float(replicates.mean()))
