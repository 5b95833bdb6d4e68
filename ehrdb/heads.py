"""Heads: logistic regression by the paper's protocol, folded so that SQL can score it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import MaxAbsScaler

Matrix = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]

C_GRID = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e2, 1e3, 1e4, 1e5, 1e6)  # no 10, as in the paper


@dataclass(frozen=True)
class Head:
    """probability(x) = 1 / (1 + exp(-(weights . x + intercept))). `weights` (dimension,) include the scaling."""

    weights: npt.NDArray[np.float64]
    intercept: float
    best_c: float

    def probabilities(self, vectors: Matrix) -> npt.NDArray[np.float64]:
        """Probability of the outcome for each row of `vectors` (n, dimension)."""
        logits = vectors.astype(np.float64) @ self.weights + self.intercept
        return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float64)


@dataclass(frozen=True)
class FittedModel:
    """A scaler and a classifier as scikit-learn fitted them; scoring with them is the reference."""

    scaler: MaxAbsScaler
    classifier: LogisticRegression
    best_c: float

    def probabilities(self, vectors: Matrix) -> npt.NDArray[np.float64]:
        """predict_proba's second column."""
        scaled = self.scaler.transform(vectors)
        return np.asarray(self.classifier.predict_proba(scaled)[:, 1], dtype=np.float64)

    def folded(self) -> Head:
        """The same function of unscaled vectors."""
        weights = self.classifier.coef_[0].astype(np.float64) / self.scaler.scale_.astype(np.float64)
        return Head(weights, float(self.classifier.intercept_[0]), self.best_c)


def fit(train: Matrix, train_labels: Labels, val: Matrix, val_labels: Labels) -> FittedModel:
    """Fit by the paper's protocol: shuffle, scale, choose C by AUROC on val, refit on train alone.

    The search uses 1,000 iterations; the refit falls back to scikit-learn's 100, as the paper's code does.
    """
    # The protocol seeds the legacy global generator; a local one of the same kind draws the same.
    order = np.arange(len(train))
    np.random.RandomState(len(train)).shuffle(order)
    train, train_labels = train[order], train_labels[order]
    scaler = MaxAbsScaler().fit(train)
    scaled, scaled_val = scaler.transform(train), scaler.transform(val)
    with warnings.catch_warnings():
        # At tol 1e-4 and large C lbfgs stops at its limit; the protocol takes what it has by then.
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = [_search_score(c, scaled, train_labels, scaled_val, val_labels) for c in C_GRID]
        best_c = C_GRID[int(np.argmax(scores))]
        classifier = LogisticRegression(C=best_c).fit(scaled, train_labels)
    return FittedModel(scaler, classifier, best_c)


def _search_score(c: float, train: Matrix, train_labels: Labels, val: Matrix, val_labels: Labels) -> float:
    candidate = LogisticRegression(C=c, tol=1e-4, max_iter=1000, random_state=0).fit(train, train_labels)
    return float(roc_auc_score(val_labels, candidate.predict_proba(val)[:, 1]))
