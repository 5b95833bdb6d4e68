"""Boosted trees and forests: the reference's models, found with less work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from scipy.sparse import csr_matrix
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, PredefinedSplit

from ehrdb.prediction import trees
from ehrdb.prediction.heads import auroc, shuffled
from ehrdb.prediction.trees import FOREST_GRID, GBM_GRID, Grown, auroc_of, distinct_columns, train_forest, train_trees


def test_trees_learn_what_a_line_cannot() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    trees = train_trees(x[:200], y[:200], x[200:300], y[200:300])
    assert trees.params in GBM_GRID
    assert ((trees.probability(x[300:]) > 0.5) == y[300:]).mean() > 0.8


def sparse_sample(rows: int, columns: int = 600) -> tuple[csr_matrix, np.ndarray[Any, Any]]:
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
    known = [LGBMClassifier(n_jobs=1, verbose=-1, random_state=0, **params) for params in GBM_GRID]
    every = [model.fit(train_x, train_y).predict_proba(x_val)[:, 1] for model in known]
    columns = distinct_columns(train_x)
    grown = Grown(train_x[:, columns], train_y)
    for params, expected in zip(GBM_GRID, every, strict=True):
        assert (grown.model(params).predict(x_val[:, columns], num_threads=1) == expected).all(), params
    assert len(columns) < x.shape[1]
    assert grown.trained < len(GBM_GRID)
    chosen = int(np.argmax([auroc(model, x_val, y_val) for model in known]))
    trees = train_trees(x, y, x_val, y_val)
    assert trees.params == GBM_GRID[chosen]
    assert (trees.probability(x_val) == every[chosen]).all()


def test_columns_that_are_zero_or_equal_one_before_them_are_left_out() -> None:
    matrix = csr_matrix([[0, 1, 1, 2, 0, 1], [0, 0, 0, 0, 3, 0]])
    assert distinct_columns(matrix).tolist() == [1, 3, 4]  # the fourth has the rows of the second, not its number
    assert distinct_columns(np.zeros((3, 2))).tolist() == [0]


def test_a_forest_is_the_references_with_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {"max_depth": [3, 5, 10, 20, 50], "n_estimators": [10, 20, 50, 100, 300]}
    assert list(ParameterGrid(whole)) == FOREST_GRID
    few = {"max_depth": [2, 5], "n_estimators": [3, 20]}
    monkeypatch.setattr(trees, "FOREST_GRID", list(ParameterGrid(few)))
    (x, y), (x_val, y_val) = sparse_sample(60, 40), sparse_sample(61, 40)
    train_x, train_y = shuffled(x, y)
    fold = PredefinedSplit(np.repeat([-1, 0], [len(y), len(y_val)]))
    search = GridSearchCV(RandomForestClassifier(random_state=0), few, scoring="roc_auc", cv=fold, refit=False)
    both = csr_matrix(np.concatenate([train_x.toarray(), x_val.toarray()]))
    search.fit(both, np.concatenate([train_y, y_val]))
    forest = train_forest(x, y, x_val, y_val)
    assert forest.params == search.best_params_
    known = RandomForestClassifier(random_state=0, **forest.params).fit(train_x, train_y)
    assert (forest.probability(x_val) == known.predict_proba(x_val)[:, 1]).all()


class Saturated:
    """Log odds of 40 and 41: as probabilities both are 1."""

    def predict(self, features: Any, num_threads: int, raw_score: bool = False) -> np.ndarray[Any, Any]:
        log_odds = np.array([40.0, 41.0])
        return log_odds if raw_score else 1 / (1 + np.exp(-log_odds))


def test_settings_are_ranked_by_log_odds_where_probabilities_would_tie() -> None:
    assert auroc_of(Saturated(), np.zeros((2, 1)), np.array([0, 1])) == 1
