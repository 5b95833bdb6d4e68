"""Baselines that an encoder must beat: boosted trees on count features, and demographics alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from ehrdb.extras import missing_extra
from ehrdb.prediction.heads import Features, Floats, Labels, auroc, choose, shuffled
from ehrdb.prediction.targets import SPLITS, Target, with_features

GBM_GRID = [
    {"max_depth": depth, "learning_rate": rate, "num_leaves": leaves, "min_child_samples": 1}
    for rate, depth, leaves in product((0.02, 0.1, 0.5), (3, 6, -1), (10, 25, 100))
]
"""The paper's grid, in the order in which scikit-learn's ParameterGrid walks it."""


@dataclass(frozen=True)
class BoostedTrees:
    """LightGBM trained on one sample."""

    model: Any
    params: dict[str, float]

    def probability(self, features: Features) -> Floats:
        """Probability of the positive class for every row."""
        return np.asarray(self.model.predict_proba(features)[:, 1], dtype=np.float64)


def train_trees(x_train: Features, y_train: Labels, x_val: Features, y_val: Labels) -> BoostedTrees:
    """Train the paper's GBM head: grid by validation AUROC, then one fit on the training rows alone."""
    classifier = _classifier()
    x_train, y_train = shuffled(x_train, y_train)

    def fit(params: dict[str, float], **settings: Any) -> BoostedTrees:
        # One thread: LightGBM's sums, and so its trees, depend on the number of threads.
        return BoostedTrees(classifier(n_jobs=1, verbose=-1, **settings, **params).fit(x_train, y_train), params)

    def validation_auroc(params: dict[str, float]) -> float:
        return float(auroc(fit(params, random_state=0).model, x_val, y_val))

    return fit(choose(GBM_GRID, validation_auroc, y_train, y_val))


def _classifier() -> Any:
    try:
        from lightgbm import LGBMClassifier
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from None
    return LGBMClassifier


def demographic_features(points: pl.DataFrame, patients: pl.DataFrame) -> tuple[Floats, list[str]]:
    """Age in years, sex and race at prediction times, as (points, features) with the features' names.

    points: patient_id, prediction_time. patients: patient_id (once), birth_time, sex, race. What is unknown
    is a feature of its own, never a guess.
    """
    known = points.join(patients, on="patient_id", how="left", maintain_order="left")
    age = (pl.col("prediction_time") - pl.col("birth_time")).dt.total_days() / 365.25
    numbers = known.select(age=age.fill_null(0.0), age_unknown=age.is_null().cast(pl.Float64))
    groups = known.select(pl.col("sex", "race").fill_null("unknown")).to_dummies().cast(pl.Float64)
    features = pl.concat([numbers, groups], how="horizontal")
    return features.to_numpy(), features.columns


def demographic_targets(targets: Sequence[Target], patients: pl.DataFrame) -> list[Target]:
    """The same targets on demographics alone; `patients` as for `demographic_features`."""
    splits = [getattr(target, name) for target in targets for name in SPLITS]
    keys = [pl.DataFrame({"patient_id": s.patient_id, "prediction_time": s.prediction_time}) for s in splits]
    points = pl.concat(keys).unique().sort("patient_id", "prediction_time")
    return with_features(targets, points, demographic_features(points, patients)[0])
