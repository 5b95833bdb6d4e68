from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from lightgbm import LGBMClassifier
from scipy.sparse import csr_matrix
from sklearn.metrics import roc_auc_score

from ehrdb.errors import TrainingError
from ehrdb.evaluation.baselines import GBM_GRID, Grown, demographic_features, distinct_columns, train_trees
from ehrdb.prediction.heads import shuffled
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


def test_trees_learn_what_a_line_cannot() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    trees = train_trees(x[:200], y[:200], x[200:300], y[200:300])
    assert trees.params in GBM_GRID
    assert ((trees.probability(x[300:]) > 0.5) == y[300:]).mean() > 0.8


def sparse_sample(rows: int, columns: int = 1500) -> tuple[csr_matrix, np.ndarray[Any, Any]]:
    """Counts of a few codes in every row, most codes in one row or none, and an outcome that some of them tell."""
    random = np.random.default_rng(rows)
    codes = (columns * random.random((rows, 12)) ** 2).astype(int)
    counts = np.zeros((rows, columns), np.float32)
    np.add.at(counts, (np.arange(rows)[:, None], codes), 1)
    told = counts @ random.normal(size=columns) + random.normal(size=rows)
    return csr_matrix(counts), (told > np.median(told)).astype(np.int64)


@pytest.mark.parametrize("rows", [16, 400])
def test_trees_are_those_of_every_setting_on_every_column(rows: int) -> None:
    x, y = sparse_sample(rows)
    x_val, y_val = sparse_sample(rows + 1)
    train_x, train_y = shuffled(x, y)
    every = [
        LGBMClassifier(n_jobs=1, verbose=-1, random_state=0, **params).fit(train_x, train_y).predict_proba(x_val)[:, 1]
        for params in GBM_GRID
    ]
    columns = distinct_columns(train_x)
    grown = Grown(train_x[:, columns], train_y)
    for params, expected in zip(GBM_GRID, every, strict=True):
        assert (grown.model(params).predict(x_val[:, columns], num_threads=1) == expected).all(), params
    assert len(columns) < x.shape[1]
    assert grown.trained < len(GBM_GRID)
    chosen = int(np.argmax([roc_auc_score(y_val, probability) for probability in every]))
    trees = train_trees(x, y, x_val, y_val)
    assert trees.params == GBM_GRID[chosen]
    assert (trees.probability(x_val) == every[chosen]).all()


def test_columns_that_are_zero_or_equal_one_before_them_are_left_out() -> None:
    matrix = csr_matrix([[0, 1, 1, 2, 0, 1], [0, 0, 0, 0, 3, 0]])
    assert distinct_columns(matrix).tolist() == [1, 3, 4]  # the fourth has the rows of the second, not its number
    assert distinct_columns(np.zeros((3, 2))).tolist() == [0]
