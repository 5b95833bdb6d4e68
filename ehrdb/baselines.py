"""Baselines that an encoder must beat: boosted trees on count features, and demographics alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ehrdb.errors import ConfigError
from ehrdb.heads import Features, Floats, Labels, auroc, choose, shuffled

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
        return BoostedTrees(
            classifier(n_jobs=1, verbose=-1, **settings, **params).fit(x_train, y_train), params
        )

    def validation_auroc(params: dict[str, float]) -> float:
        return float(auroc(fit(params, random_state=0).model, x_val, y_val))

    return fit(choose(GBM_GRID, validation_auroc, y_train, y_val))


def _classifier() -> Any:
    try:
        from lightgbm import LGBMClassifier
    except ImportError:
        raise ConfigError("LightGBM is not installed", hint="pip install 'ehrdb[baselines]'") from None
    return LGBMClassifier
