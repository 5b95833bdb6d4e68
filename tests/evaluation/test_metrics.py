from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score
from sklearn.utils import resample

from ehrdb.evaluation import draw_patients, measure
from ehrdb.evaluation.metrics import Ranking, _brier
from ehrdb.prediction.bootstrap import Drawing, Floats, Integers, draw_rows


@st.composite
def weighted_test_sets(draw: st.DrawFn) -> tuple[Integers, Floats, Drawing]:
    """Rows with many equal scores, patients with several rows, and counts with many zeros."""
    rows = draw(st.integers(2, 30))
    labels = draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows).filter(lambda y: len(set(y)) == 2))
    scores = draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.50000001, 1.0]), min_size=rows, max_size=rows))
    patients = draw(st.lists(st.integers(0, 5), min_size=rows, max_size=rows))
    counts = draw(st.lists(st.integers(0, 3), min_size=6, max_size=6).filter(lambda c: any(c[p] for p in patients)))
    drawing = Drawing(np.array(patients), np.array(counts, dtype=float)[:, None])
    return np.array(labels), np.array(scores), drawing


@given(weighted_test_sets())
def test_weighted_metrics_equal_scikit_learns(case: tuple[Integers, Floats, Drawing]) -> None:
    labels, scores, drawing = case
    weights = drawing.counts[drawing.patient, 0]
    auroc, auprc = Ranking.of(labels, scores, drawing.patient, 6).auroc_auprc(drawing.counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns and gives NaN when a class has no weight
        expected = roc_auc_score(labels, scores, sample_weight=weights)
        np.testing.assert_allclose(auroc[0], expected, atol=1e-12, equal_nan=True)
        expected = average_precision_score(labels, scores, sample_weight=weights)
        np.testing.assert_allclose(auprc[0], expected, atol=1e-12)
        expected = brier_score_loss(labels, scores, sample_weight=weights)
    np.testing.assert_allclose(_brier(labels, scores, drawing), expected, atol=1e-12)


def test_patients_are_drawn_as_scikit_learn_resamples_them() -> None:
    patients = np.array([7, 7, 3, 9, 11])
    drawing = draw_patients(patients, replicates=5)
    for seed in range(5):
        drawn = resample([3, 7, 9, 11], random_state=seed)
        expected = [drawn.count(patient) for patient in patients]
        np.testing.assert_array_equal(drawing.counts[drawing.patient, 1 + seed], expected)


def test_score_is_the_unweighted_test_set() -> None:
    random = np.random.default_rng(0)
    labels, scores = random.integers(0, 2, 200), random.random(200)
    result = measure(labels, scores, draw_patients(random.integers(0, 50, 200), replicates=10))
    assert result.auroc.score == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert result.auprc.score == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert result.brier.score == pytest.approx(brier_score_loss(labels, scores), abs=1e-12)


def test_interval_does_not_exist_when_a_replicate_draws_one_class() -> None:
    result = measure(np.array([0, 1]), np.array([0.2, 0.8]), draw_patients(np.array([1, 2]), replicates=20))
    assert result.auroc.score == 1
    assert np.isnan(result.auroc.lower)
    assert not np.isnan(result.brier.lower)


def test_rows_are_drawn_by_one_generator_of_seed_42() -> None:
    patients, labels = np.array([1, 1, 2, 2, 3, 3]), np.array([0, 1, 0, 1, 1, 0])
    probability = np.array([0.2, 0.3, 0.4, 0.9, 0.1, 0.6])
    generator = np.random.default_rng(42)
    drawn = [generator.choice(6, 6) for _ in range(20)]
    expected = [np.mean((probability[rows] - labels[rows]) ** 2) for rows in drawn]
    found = measure(labels, probability, draw_rows(patients, 20)).brier
    assert found.lower == pytest.approx(np.percentile(expected, 2.5))
    assert found.std == pytest.approx(np.std(expected, ddof=1))
