"""Targets: the labelled rows of a task by split, and what counts as positive in each task (protocol section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ehrdb.errors import TrainingError
from ehrdb.prediction.heads import Features

Integers = NDArray[np.int64]

SPLITS = ("train", "val", "test")

FINDINGS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Lesion",
    "Lung Opacity",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""The findings of a chexpert label; the first is its most significant bit."""


@dataclass(frozen=True)
class Split:
    """The labelled rows of one split, ordered by (patient_id, prediction_time).

    row: index of each label's vector in the target's features; labels: 0 or 1; all of shape (labels,).
    """

    row: Integers
    labels: Integers
    patient_id: Integers
    prediction_time: NDArray[np.datetime64]


@dataclass(frozen=True)
class Target:
    """One binary target: a task, or one finding of a multi-label task. Targets may share their features."""

    task: str
    features: Features
    train: Split
    val: Split
    test: Split


def finding_task(finding: str) -> str:
    """Name of a finding's own target: `chexpert_lung_opacity`."""
    return "chexpert_" + finding.lower().replace(" ", "_")


FINDING_TASKS = tuple(map(finding_task, FINDINGS))


def task_of(target: str) -> str:
    """The task whose labels a target has: chexpert for one of its findings, else itself."""
    return "chexpert" if target in FINDING_TASKS else target


def binary_targets(labels: pl.DataFrame) -> pl.DataFrame:
    """Labels with `value` 0 or 1: labs are positive from class 1 on, chexpert becomes 14 targets.

    Takes and returns a frame with `task` and integer `value` beside any other columns.
    """
    whole = labels.filter(pl.col("task") != "chexpert").with_columns(
        pl.when(pl.col("task").str.starts_with("lab_"))
        .then((pl.col("value") >= 1).cast(pl.Int64))
        .otherwise(pl.col("value"))
        .alias("value")
    )
    chexpert = labels.filter(pl.col("task") == "chexpert")
    return pl.concat([whole, *(_finding(chexpert, bit, name) for bit, name in enumerate(FINDINGS))])


def largest_value(task: pl.Expr) -> pl.Expr:
    """The largest value that a label of a task may have; the smallest is 0."""
    return (
        pl.when(task == "chexpert").then(2 ** len(FINDINGS) - 1).when(task.str.starts_with("lab_")).then(3).otherwise(1)
    )


def with_features(targets: Sequence[Target], points: pl.DataFrame, features: Features) -> list[Target]:
    """The same targets on other features; `points` (patient_id, prediction_time) names the features' rows."""
    rows = points.select("patient_id", "prediction_time").with_row_index("row")

    def split(old: Split) -> Split:
        asked = pl.DataFrame({"patient_id": old.patient_id, "prediction_time": old.prediction_time})
        found = asked.join(rows, on=["patient_id", "prediction_time"], how="left", maintain_order="left")["row"]
        if found.has_nulls():
            patient = old.patient_id[int(found.is_null().arg_max() or 0)]
            raise TrainingError(f"patient {patient} has labels without features")
        return replace(old, row=found.cast(pl.Int64).to_numpy())

    return [
        replace(old, features=features, train=split(old.train), val=split(old.val), test=split(old.test))
        for old in targets
    ]


def _finding(labels: pl.DataFrame, bit: int, name: str) -> pl.DataFrame:
    value = pl.col("value") // 2 ** (len(FINDINGS) - 1 - bit) % 2
    return labels.with_columns(task=pl.lit(finding_task(name)), value=value)
