"""The baseline that any encoder must beat: demographics alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix, hstack

from ehrdb.prediction.heads import Floats
from ehrdb.prediction.targets import SPLITS, Target, with_features

_AGE = ("age", "age_unknown")


def demographic_features(points: pl.DataFrame, patients: pl.DataFrame) -> tuple[Floats, list[str]]:
    """Age in years, sex and race at prediction times, as (points, features) with the features' names.

    points: patient_id, prediction_time. patients: patient_id (once), birth_time, sex, race. What is unknown
    is a feature of its own, never a guess.
    """
    known = points.join(patients, on="patient_id", how="left", maintain_order="left")
    age = (pl.col("prediction_time") - pl.col("birth_time")).dt.total_days() / 365.25
    numbers = known.select(age.fill_null(0.0).alias(_AGE[0]), age.is_null().cast(pl.Float64).alias(_AGE[1]))
    groups = known.select(pl.col("sex", "race").fill_null("unknown")).to_dummies().cast(pl.Float64)
    features = pl.concat([numbers, groups], how="horizontal")
    return features.to_numpy(), features.columns


def demographic_targets(targets: Sequence[Target], patients: pl.DataFrame) -> list[Target]:
    """The same targets on demographics alone; `patients` as for `demographic_features`."""
    splits = [getattr(target, name) for target in targets for name in SPLITS]
    keys = [pl.DataFrame({"patient_id": s.patient_id, "prediction_time": s.prediction_time}) for s in splits]
    points = pl.concat(keys).unique().sort("patient_id", "prediction_time")
    return with_features(targets, points, demographic_features(points, patients)[0])


def with_demographics(targets: Sequence[Target], patients: pl.DataFrame) -> list[Target]:
    """Targets on counts with sex and race beside them (their age stands among the counts); `patients` as above."""
    known = demographic_targets(targets, patients)
    groups = csr_matrix(known[0].features[:, len(_AGE) :])
    features = hstack([targets[0].features, groups], "csr", np.float32)
    return [replace(target, features=features) for target in targets]
