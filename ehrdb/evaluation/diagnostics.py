"""Beyond the paper's metrics: calibration, decision curves, subgroups; nothing shows fewer than 11 patients.

A head's predictions are cut into bands from the highest probability down, each of MINIMUM_CELL patients or
more. Every curve is drawn through the bands' ends, so that no point of it tells about fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import polars as pl

from ehrdb.evaluation.metrics import measure
from ehrdb.prediction.bootstrap import Estimate, Floats, Integers, draw_patients

MINIMUM_CELL = 11
"""Smallest number of patients shown on their own (the rule of US Medicare data releases)."""
POOLED = "other"


@dataclass(frozen=True)
class Band:
    """Predictions of similar probability: how many, of how many patients, and what happened."""

    labels: int
    patients: int
    positives: int
    mean_probability: float
    lowest_probability: float


@dataclass(frozen=True)
class Subgroup:
    """One level of a variable; no estimate where a class has fewer than MINIMUM_CELL patients."""

    variable: str
    level: str
    patients: int
    auroc: Estimate | None


def bands(labels: Integers, probability: Floats, patient_id: Integers, number: int) -> list[Band]:
    """About `number` bands of equal size, highest probability first; equal probabilities share one.

    Empty when there are fewer than MINIMUM_CELL patients.
    """
    order = np.argsort(-probability, kind="stable")
    found: list[Integers] = []
    start, patients = 0, set[int]()
    for stop, row in enumerate(order, start=1):
        patients.add(int(patient_id[row]))
        is_cut = stop == len(order) or probability[order[stop]] != probability[row]
        if is_cut and stop - start >= len(order) / number and len(patients) >= MINIMUM_CELL:
            found.append(order[start:stop])
            start, patients = stop, set()
    if found and start < len(order):
        found[-1] = np.concatenate([found[-1], order[start:]])
    return [_band(labels[rows], probability[rows], patient_id[rows]) for rows in found]


def expected_calibration_error(bands: list[Band]) -> float:
    """Mean distance of a band's mean probability from its observed rate, weighted by its labels."""
    total = sum(band.labels for band in bands)
    return sum(abs(band.mean_probability * band.labels - band.positives) for band in bands) / total


def roc_curve(bands: list[Band]) -> tuple[list[float], list[float]]:
    """False and true positive rates through the bands' ends, from (0, 0) to (1, 1)."""
    true, false = _cumulated(bands)
    return [value / false[-1] for value in false], [value / true[-1] for value in true]


def precision_recall_curve(bands: list[Band]) -> tuple[list[float], list[float]]:
    """Recall and precision at the bands' ends."""
    true, false = _cumulated(bands)
    pairs = [(t / true[-1], t / (t + f)) for t, f in zip(true[1:], false[1:], strict=True)]
    recall, precision = zip(*pairs, strict=True)
    return list(recall), list(precision)


def decision_curve(bands: list[Band], thresholds: Sequence[float]) -> tuple[list[float], list[float]]:
    """Net benefit of acting on the bands at or above each threshold, and of acting on everyone.

    Net benefit = true positives / n - false positives / n * odds of the threshold (Vickers & Elkin 2006).
    """
    rows = sum(band.labels for band in bands)

    def benefit(acted_on: list[Band], threshold: float) -> float:
        true, labels = sum(band.positives for band in acted_on), sum(band.labels for band in acted_on)
        return (true - (labels - true) * threshold / (1 - threshold)) / rows

    model = [benefit([b for b in bands if b.lowest_probability >= t], t) for t in thresholds]
    return model, [benefit(bands, t) for t in thresholds]


def subgroups(labels: Integers, probability: Floats, patient_id: Integers, levels: pl.DataFrame) -> list[Subgroup]:
    """AUROC in every level of every column of `levels` (one row per label).

    Levels with fewer than MINIMUM_CELL patients are pooled as `other`, with the next smallest if they are
    still too few; a variable that leaves fewer than two levels is left out.
    """
    found = []
    for variable in levels.columns:
        level = _pool(levels[variable].cast(pl.String).fill_null("unknown"), patient_id)
        names = sorted(level.unique(), key=lambda name: (name == POOLED, name))
        if len(names) < 2:
            continue
        for name in names:
            rows = (level == name).to_numpy()
            estimate = _auroc(labels[rows], probability[rows], patient_id[rows])
            found.append(Subgroup(variable, name, len(np.unique(patient_id[rows])), estimate))
    return found


def age_group(age: pl.Expr) -> pl.Expr:
    """Age in years as a group; null where it is unknown."""
    return pl.coalesce(
        pl.when(age < end).then(pl.lit(name))
        for end, name in ((18, "0-17"), (40, "18-39"), (65, "40-64"), (80, "65-79"), (np.inf, "80+"))
    )


def _band(labels: Integers, probability: Floats, patient_id: Integers) -> Band:
    patients = len(np.unique(patient_id))
    return Band(len(labels), patients, int(labels.sum()), float(probability.mean()), float(probability.min()))


def _cumulated(bands: list[Band]) -> tuple[list[int], list[int]]:
    true = list(accumulate((band.positives for band in bands), initial=0))
    false = list(accumulate((band.labels - band.positives for band in bands), initial=0))
    return true, false


def _pool(level: pl.Series, patient_id: Integers) -> pl.Series:
    frame = pl.DataFrame({"level": level, "patient_id": patient_id})
    sizes = frame.group_by("level").agg(pl.col("patient_id").n_unique()).sort("patient_id", "level")
    small: list[str] = []
    for name, patients in sizes.iter_rows():
        pooled = frame.filter(pl.col("level").is_in(small))["patient_id"].n_unique()
        if patients < MINIMUM_CELL or 0 < pooled < MINIMUM_CELL:
            small.append(name)
    return frame.select(pl.when(pl.col("level").is_in(small)).then(pl.lit(POOLED)).otherwise("level")).to_series()


def _auroc(labels: Integers, probability: Floats, patient_id: Integers) -> Estimate | None:
    if any(len(np.unique(patient_id[labels == value])) < MINIMUM_CELL for value in (0, 1)):
        return None
    return measure(labels, probability, draw_patients(patient_id)).auroc
