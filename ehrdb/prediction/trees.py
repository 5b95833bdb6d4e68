"""Boosted trees and random forests, as the paper has them on count features."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from ehrdb.extras import missing_extra
from ehrdb.prediction.heads import Features, Floats, Labels, choose, shuffled

GBM_GRID = [
    {"max_depth": depth, "learning_rate": rate, "num_leaves": leaves, "min_child_samples": 1}
    for rate, depth, leaves in product((0.02, 0.1, 0.5), (3, 6, -1), (10, 25, 100))
]
"""The paper's grid, in the order in which scikit-learn's ParameterGrid walks it."""


FOREST_GRID: list[dict[str, float]] = [
    {"max_depth": depth, "n_estimators": trees} for depth, trees in product((3, 5, 10, 20, 50), (10, 20, 50, 100, 300))
]
"""The reference's grid of random forests, in ParameterGrid's order."""
TREES = 100
"""Rounds of boosting, LightGBM's own number."""


@dataclass(frozen=True)
class BoostedTrees:
    """LightGBM trained on one sample. columns: those of the features that it reads."""

    model: Any
    params: dict[str, float]
    columns: NDArray[np.int64]

    def probability(self, features: Features) -> Floats:
        """Probability of the positive class for every row."""
        return np.asarray(self.model.predict(features[:, self.columns], num_threads=1), dtype=np.float64)


def train_trees(x_train: Features, y_train: Labels, x_val: Features, y_val: Labels) -> BoostedTrees:
    """Train the paper's GBM head: grid by validation AUROC, then one fit on the training rows alone.

    The trees are those of LGBMClassifier on all columns, found with less: columns that train no other tree than one
    before them are left out, the rest is read once for the whole grid, and settings whose bounds no tree reached share
    their trees (`Grown`).
    """
    x_train, y_train = shuffled(x_train, y_train)
    columns = distinct_columns(x_train)
    grown = Grown(x_train[:, columns], y_train)
    x_val = x_val[:, columns]

    def validation_auroc(params: dict[str, float]) -> float:
        return auroc_of(grown.model(params), x_val, y_val)

    params = choose(GBM_GRID, validation_auroc, y_train, y_val)
    return BoostedTrees(grown.model(params), params, columns)


def auroc_of(model: Any, x_val: Features, y_val: Labels) -> float:
    """Ranks by log odds, as scikit-learn's search does: probabilities that lie together would tie."""
    return float(roc_auc_score(y_val, model.predict(x_val, num_threads=1, raw_score=True)))


def distinct_columns(features: Features) -> NDArray[np.int64]:
    """Numbers of the columns that are not zero throughout and equal none before them; the first if all are zero.

    Of equal columns LightGBM splits the first, whatever it gains.
    """
    matrix = csc_matrix(features, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    ends = zip(matrix.indptr[:-1].tolist(), matrix.indptr[1:].tolist(), strict=True)
    first: dict[tuple[bytes, bytes], int] = {}
    for column, (start, stop) in enumerate(ends):
        if stop > start:
            cells = (matrix.indices[start:stop].tobytes(), matrix.data[start:stop].tobytes())
            first.setdefault(cells, column)
    return np.array([*first.values()] or [0], dtype=np.int64)


class Grown:
    """The grid's models on one sample: their columns are put into bins once, and no model is trained twice."""

    def __init__(self, x: Features, y: Labels) -> None:
        self._lightgbm = _lightgbm()
        settings = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 1}
        self._data = self._lightgbm.Dataset(x, y, params=settings, free_raw_data=False)
        self._models: list[tuple[dict[str, float], int, Any]] = []

    @property
    def trained(self) -> int:
        """How many models were trained so far."""
        return len(self._models)

    def model(self, params: dict[str, float]) -> Any:
        """The model of these settings, or the equal one of others."""
        for other, leaves, model in self._models:
            if _are_equal(other, params, leaves):
                return model
        # One thread: LightGBM's sums, and so its trees, depend on the number of threads.
        settings = {"objective": "binary", "num_threads": 1, "verbose": -1, "seed": 0, **params}
        model = self._lightgbm.train(settings, self._data, TREES)
        leaves = max(map(int, re.findall(r"^num_leaves=(\d+)$", model.model_to_string(), re.MULTILINE)), default=1)
        self._models.append((params, leaves, model))
        return model


def _are_equal(one: dict[str, float], other: dict[str, float], leaves: int) -> bool:
    """Whether the trees of `one`, of which the largest has so many leaves, are those of `other` too.

    A tree below its bound of leaves was ended by the data (or its depth), and grows so under every bound that it keeps;
    it is less deep than it has leaves.
    """

    def unbound(name: str, reached: int) -> bool:
        return all(each[name] == -1 or each[name] > reached for each in (one, other))

    same_leaves = one["num_leaves"] == other["num_leaves"] or unbound("num_leaves", leaves)
    same_depth = one["max_depth"] == other["max_depth"] or unbound("max_depth", leaves - 1)
    return one["learning_rate"] == other["learning_rate"] and same_leaves and same_depth


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from None
    return lightgbm


@dataclass(frozen=True)
class Forest:
    """A random forest trained on one sample."""

    model: RandomForestClassifier
    params: dict[str, float]

    def probability(self, features: Features) -> Floats:
        """Probability of the positive class for every row."""
        return np.asarray(self.model.predict_proba(features)[:, 1], dtype=np.float64)


def train_forest(x_train: Features, y_train: Labels, x_val: Features, y_val: Labels) -> Forest:
    """Train the reference's random forest: grid by validation AUROC, then the model of the training rows alone.

    Seed 0 throughout; the reference draws its last forest anew, so that no two runs of it agree.
    """
    x_train, y_train = shuffled(x_train, y_train)
    forest = partial(RandomForestClassifier, random_state=0)

    def validation_auroc(params: dict[str, float]) -> float:
        model = forest(**params).fit(x_train, y_train)
        return float(roc_auc_score(y_val, model.predict_proba(x_val)[:, 1]))

    params = choose(FOREST_GRID, validation_auroc, y_train, y_val)
    return Forest(forest(**params).fit(x_train, y_train), params)
