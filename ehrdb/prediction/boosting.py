"""Gradient boosting on counts of codes, whose probabilities are stored and served like a head's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ehrdb.database import Database
from ehrdb.prediction.calibration import Method, fit
from ehrdb.prediction.enough import require_enough
from ehrdb.prediction.files import splits_of
from ehrdb.prediction.given import Floats, keep_given, labelled
from ehrdb.prediction.stored_counts import count_targets
from ehrdb.prediction.targets import SPLITS, Target
from ehrdb.prediction.training import supply_of
from ehrdb.prediction.trees import BoostedTrees, train_trees

_SHOWN = ("labels", "positives", "params", "calibration", "is_from_few")


@dataclass(frozen=True)
class BoostResult:
    """What probabilities were stored under which name: labels and positives per split, what the grid chose, and scores
    on the test patients."""

    target: str
    name: str
    labels: dict[str, int]
    positives: dict[str, int]
    params: dict[str, float]
    calibration: Method | None
    is_from_few: bool
    test: dict[str, float | None]


def boost(
    database: Database, target: str, name: str, *, calibration: Method | None = "platt", accept_few: bool = False
) -> BoostResult:
    """Train the paper's LightGBM head on counts of codes, and store its probabilities at every label as `name`'s.

    They are calibrated on the validation rows (None: as they are). target: a task, or a finding of a chest X-ray.
    Raises NotFound, TrainingError where labels are too few (see `train`), EncoderError where the name is another's.
    """
    task, rows = labelled(database, target)
    with database.transaction() as connection:
        (counted,) = count_targets(connection, [Target(target, None, *splits_of(rows.with_columns(vector=pl.lit(0))))])
    supply = supply_of(counted)
    require_enough([supply], accept_few=accept_few)
    trees = _trained(counted)
    probability = _calibrated(trees, counted, calibration)
    learned: dict[str, Any] = {
        "model": "LightGBM on counts",
        "labels": supply.labels,
        "positives": supply.positives,
        "params": trees.params,
        "calibration": calibration,
        "is_from_few": bool(supply.short),
    }
    digest, given = _digest(trees, learned), _in_order(rows, probability)
    test = keep_given(database, task, target, name, digest, rows, given, learned)
    return BoostResult(target, name, test=test, **{key: learned[key] for key in _SHOWN})


def _trained(target: Target) -> BoostedTrees:
    x_train, x_val = target.features[target.train.row], target.features[target.val.row]
    return train_trees(x_train, target.train.labels, x_val, target.val.labels)


def _calibrated(trees: BoostedTrees, target: Target, method: Method | None) -> dict[str, Floats]:
    """Probabilities of each split's rows."""
    raw = {name: trees.probability(target.features[getattr(target, name).row]) for name in SPLITS}
    if method is None:
        return raw
    logits = {name: np.log(each) - np.log1p(-each) for name, each in raw.items()}
    calibration = fit(method, logits["val"], target.val.labels, target.val.patient_id)
    return {name: calibration(each) for name, each in logits.items()}


def _in_order(rows: pl.DataFrame, of_splits: dict[str, Floats]) -> Floats:
    """Probabilities in the order of the rows."""
    found = np.empty(rows.height)
    for name, probability in of_splits.items():
        found[(rows["split"] == name).to_numpy()] = probability
    return found


def _digest(trees: BoostedTrees, learned: dict[str, Any]) -> str:
    """What a probability depends on: the trees, the columns that they read, and the calibration."""
    found = hashlib.sha256(trees.model.model_to_string().encode())
    found.update(trees.columns.tobytes() + repr(learned).encode())
    return found.hexdigest()
