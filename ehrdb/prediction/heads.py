"""Heads: a logistic regression on vectors, trained as the paper does and folded into one inner product.

Training one head (Hegselmann et al. 2026, `7_eval.py`): shuffle the training rows, scale every dimension by
its largest absolute value, choose C by the AUROC on the validation rows, fit again on the training rows
alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.preprocessing import MaxAbsScaler

from ehrdb.errors import TrainingError
from ehrdb.prediction.calibration import RAW, Calibration, Method, fit

Features = Any
"""A matrix of rows by dimensions: a numpy array, or a scipy CSR matrix (count features)."""
Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

C_GRID = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e2, 1e3, 1e4, 1e5, 1e6)
"""The paper's grid; there is no 10 in it."""

MAX_ITER = 100
"""Of the final fit: the paper keeps C alone of what it searched with, and so scikit-learn's own bound."""


auroc = get_scorer("roc_auc")
"""Ranks by the decision function where a model has one: probabilities that saturate would tie."""


class Head(Protocol):
    """Anything trained on one sample that gives probabilities: a linear head or a baseline."""

    @property
    def params(self) -> dict[str, float]:
        """What the validation rows chose."""
        ...

    def probability(self, features: Features) -> Floats:
        """Probability of the positive class for every row."""
        ...


class Trainer(Protocol):
    """How a head is trained from training and validation rows."""

    def __call__(self, x_train: Features, y_train: Labels, x_val: Features, y_val: Labels, /) -> Head:
        """Train one head."""
        ...


@dataclass(frozen=True)
class FoldedHead:
    """Scaling, regression and calibration, as SQL scores them.

    probability = calibration(weights . vector + intercept)
    """

    weights: Floats
    intercept: float
    calibration: Calibration = RAW

    def logit(self, vectors: Features) -> Floats:
        """Uncalibrated log odds of every row."""
        return np.asarray(vectors.astype(np.float64) @ self.weights + self.intercept)

    def probability(self, vectors: Features) -> Floats:
        """Calibrated probability of every row."""
        return self.calibration(self.logit(vectors))

    def calibrated(self, method: Method | None, vectors: Features, labels: Labels, patient_ids: Labels) -> FoldedHead:
        """This head calibrated on rows that it was not trained on (None: as it is)."""
        if method is None:
            return self
        return replace(self, calibration=fit(method, self.logit(vectors), labels, patient_ids))


@dataclass(frozen=True)
class LinearHead:
    """The scaler and the regression of one training sample."""

    scaler: MaxAbsScaler
    model: LogisticRegression
    params: dict[str, float]

    def probability(self, features: Features) -> Floats:
        """Probability of the positive class for every row."""
        return _positive(self.model, self.scaler.transform(features))

    def fold(self) -> FoldedHead:
        """The same head as weights on the unscaled vector and an intercept."""
        weights = self.model.coef_[0].astype(np.float64) / self.scaler.scale_.astype(np.float64)
        return FoldedHead(weights, float(self.model.intercept_[0]))


def train_head(
    x_train: Features, y_train: Labels, x_val: Features, y_val: Labels, max_iter: int = MAX_ITER
) -> LinearHead:
    """Train the paper's linear head; raises TrainingError when a split has one class only.

    max_iter: of the final fit.

    Shapes: `x_*` (rows, dimensions), `y_*` (rows,) of 0 and 1. The arithmetic follows the dtype of `x_train`:
    float16 is scaled in float16 and fitted in float64, float32 is fitted in float32.
    """
    x_train, y_train = shuffled(x_train, y_train)
    scaler = MaxAbsScaler().fit(x_train)
    x_train, x_val = scaler.transform(x_train), scaler.transform(x_val)

    def validation_auroc(params: dict[str, float]) -> float:
        model = _fit(LogisticRegression(max_iter=1000, random_state=0, **params), x_train, y_train)
        return float(auroc(model, x_val, y_val))

    params = choose(({"C": c} for c in C_GRID), validation_auroc, y_train, y_val)
    return LinearHead(scaler, _fit(LogisticRegression(max_iter=max_iter, **params), x_train, y_train), params)


@dataclass(frozen=True)
class Prototypes:
    """The mean vector of each class, (2, dimensions): a row is likelier of the class whose mean is nearer."""

    means: Floats
    params: dict[str, float] = field(default_factory=dict)

    def probability(self, features: Features) -> Floats:
        """Softmax of the negative Euclidean distances, of the positive class."""
        rows = features.toarray() if issparse(features) else np.asarray(features)
        negative, positive = (np.linalg.norm(rows - mean, axis=1) for mean in self.means)
        return np.asarray(1 / (1 + np.exp(positive - negative)), dtype=np.float64)


def train_prototypes(x_train: Features, y_train: Labels, x_val: Features, y_val: Labels) -> Prototypes:
    """The reference's prototype head (after Snell et al. 2017): nothing is scaled, and nothing chosen."""
    means = [np.asarray(x_train[y_train == label].mean(axis=0), dtype=np.float64).ravel() for label in (0, 1)]
    return Prototypes(np.stack(means))


def choose(
    grid: Iterable[dict[str, float]],
    score: Callable[[dict[str, float]], float],
    *labels: Labels,
) -> dict[str, float]:
    """The first of the best parameters of a grid; every label array must hold both classes."""
    for name, values in zip(("training", "validation"), labels, strict=True):
        if not 0 < values.sum() < len(values):
            raise TrainingError(
                f"the {name} rows have one class only", hint="A head needs positive and negative labels."
            )
    return max(grid, key=score)


def shuffled(x: Features, y: Labels) -> tuple[Features, Labels]:
    """Training rows in the reference's order: shuffled with the number of rows as the seed."""
    order = np.arange(len(y))
    np.random.RandomState(len(y)).shuffle(order)
    return x[order], y[order]


def _fit(model: LogisticRegression, x: Features, y: Labels) -> LogisticRegression:
    with warnings.catch_warnings():
        # Stopping before convergence at large C is part of the protocol being reproduced.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)


def _positive(model: Any, x: Features) -> Floats:
    return np.asarray(model.predict_proba(x)[:, 1], dtype=np.float64)
