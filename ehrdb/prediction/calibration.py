"""Calibration: from a head's log odds to probabilities, fitted on rows that the head was not trained on.

Its bounds say how far a probability would move had other validation patients been drawn. They hold the spread of the
calibration alone: not that of the weights, and nothing of what will become of one patient.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgWarning
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from ehrdb.prediction.bootstrap import draw_patients

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Method = Literal["platt", "isotonic"]

DRAWINGS = 200
_POINTS = 41


@dataclass(frozen=True)
class Curve:
    """Straight lines between points, level beyond them. `at` ascends; both are (points,)."""

    at: Floats
    value: Floats

    def __call__(self, x: Floats) -> Floats:
        """The height of the curve at every x."""
        return np.asarray(np.interp(x, self.at, self.value), dtype=np.float64)


@dataclass(frozen=True)
class Calibration:
    """How log odds become probabilities: along a curve, or, without one, by a logistic function of slope and shift.

    lower, upper: the 2.5 and 97.5 percentiles of the probability over drawings of the validation patients.
    """

    slope: float = 1.0
    shift: float = 0.0
    curve: Curve | None = None
    lower: Curve | None = None
    upper: Curve | None = None

    def __call__(self, logits: Floats) -> Floats:
        """The probability of every row."""
        return self.curve(logits) if self.curve else expit(self.slope * logits + self.shift)


RAW = Calibration()
"""None: the logistic regression's own probabilities."""


def fit(method: Method, logits: Floats, labels: Integers, patient_ids: Integers) -> Calibration:
    """A calibration of these rows, with bounds from drawings of their patients."""
    fit_once = {"platt": platt, "isotonic": isotonic}[method]
    drawing = draw_patients(patient_ids, DRAWINGS)
    weights = drawing.counts[drawing.patient]
    at = np.unique(np.quantile(logits, np.linspace(0, 1, _POINTS)))
    drawn = [fit_once(logits, labels, weights[:, place])(at) for place in range(1, weights.shape[1])]
    lower, upper = np.percentile(drawn, [2.5, 97.5], axis=0)
    best = fit_once(logits, labels)
    return Calibration(best.slope, best.shift, best.curve, Curve(at, lower), Curve(at, upper))


def platt(logits: Floats, labels: Integers, weights: Floats | None = None) -> Calibration:
    """Slope and shift of Platt scaling with his smoothed targets (Platt 1999, Lin et al. 2007).

    The smoothing keeps the slope finite where the logits separate the classes. Logits are standardized for the
    fit: a strongly regularized head's are so small that the solver would stop where it starts.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    center, scale = float(logits.mean()), float(logits.std()) or 1.0
    logits = (logits - center) / scale
    target = _targets(labels, weights)
    model = LogisticRegression(C=np.inf, solver="newton-cholesky")
    with warnings.catch_warnings():
        # Where all drawn logits are alike, any slope fits: scikit-learn says so and takes its other solver.
        warnings.simplefilter("ignore", LinAlgWarning)
        model.fit(
            np.concatenate([logits, logits])[:, None],
            np.repeat([1, 0], len(labels)),
            sample_weight=np.concatenate([weights * target, weights * (1 - target)]),
        )
    slope = float(model.coef_[0, 0]) / scale
    return Calibration(slope, float(model.intercept_[0]) - slope * center)


def isotonic(logits: Floats, labels: Integers, weights: Floats | None = None) -> Calibration:
    """The best curve that never falls, of Platt's smoothed targets: never 0 or 1, which no sample could show."""
    weights = np.ones(len(labels)) if weights is None else weights
    drawn = weights > 0
    model = IsotonicRegression(out_of_bounds="clip")
    model.fit(logits[drawn], _targets(labels, weights)[drawn], sample_weight=weights[drawn])
    return Calibration(curve=Curve(model.X_thresholds_, model.y_thresholds_))


def _targets(labels: Integers, weights: Floats) -> Floats:
    positives, negatives = weights[labels == 1].sum(), weights[labels == 0].sum()
    return np.asarray(np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2)), dtype=np.float64)


def expit(x: Floats) -> Floats:
    """The logistic function, as SQL has it: beyond 700 exp() overflows and the answer is 0 or 1 anyway."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -700, 700))))
