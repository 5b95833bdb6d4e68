from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
import pytest

from ehrdb.errors import TrainingError
from ehrdb.evaluation.baselines import demographic_features
from ehrdb.prediction.targets import Split, Target, with_features

POINTS = pl.DataFrame({"patient_id": [2, 1, 1], "prediction_time": [datetime(2020, m, 1) for m in (1, 2, 3)]})


def target() -> Target:
    def split(patient: int, time: datetime) -> Split:
        return Split(np.array([0]), np.array([1]), np.array([patient]), np.array([time], dtype="datetime64[us]"))

    rows = POINTS.rows()
    return Target("icu", np.zeros((1, 1)), split(*rows[1]), split(*rows[0]), split(*rows[2]))


def test_demographics_are_age_sex_and_race_and_say_what_is_unknown() -> None:
    patients = pl.DataFrame(
        {
            "patient_id": [1, 2],
            "birth_time": [datetime(1990, 1, 1), None],
            "sex": ["F", "M"],
            "race": ["a", None],
        }
    )
    features, names = demographic_features(POINTS, patients)
    assert names == ["age", "age_unknown", "sex_F", "sex_M", "race_a", "race_unknown"]
    assert features[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert features[1].tolist() == pytest.approx([30.084, 0, 1, 0, 1, 0], abs=1e-3)


def test_features_are_found_by_patient_and_time() -> None:
    (moved,) = with_features([target()], POINTS, np.eye(3))
    assert [split.row.tolist() for split in (moved.train, moved.val, moved.test)] == [[1], [0], [2]]


def test_a_label_without_features_is_refused() -> None:
    with pytest.raises(TrainingError, match="patient 2 has labels without features"):
        with_features([target()], POINTS[1:], np.eye(2))
