from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix

from ehrdb.errors import TrainingError
from ehrdb.prediction.calibration import platt
from ehrdb.prediction.heads import FoldedHead, LinearHead, shuffled, train_head, train_prototypes
from ehrdb.prediction.sampling import sample_shots


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 200)
    return random.normal(size=(200, 16)) + labels[:, None] * random.normal(size=16), labels


@pytest.fixture(scope="module")
def head(sample: tuple[np.ndarray, np.ndarray]) -> LinearHead:
    vectors, labels = sample
    return train_head(vectors[:100], labels[:100], vectors[100:], labels[100:])


def test_folded_head_gives_the_heads_probabilities(head: LinearHead, sample: tuple[np.ndarray, np.ndarray]) -> None:
    assert_allclose(head.fold().probability(sample[0]), head.probability(sample[0]), atol=1e-12)


def test_calibration_moves_the_mean_probability_to_the_prevalence(
    sample: tuple[np.ndarray, np.ndarray], head: LinearHead
) -> None:
    vectors, labels = sample
    folded = head.fold()
    overconfident = FoldedHead(folded.weights * 50, folded.intercept * 50 - 2)
    calibrated = overconfident.calibrated("platt", vectors[100:], labels[100:], np.arange(100))
    assert calibrated.calibration.slope < 1
    assert calibrated.probability(vectors[100:]).mean() == pytest.approx(labels[100:].mean(), abs=0.01)


def test_platt_stays_finite_where_logits_separate_the_classes() -> None:
    found = platt(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0, 0, 1, 1]))
    assert 0 < found.slope < 10
    assert found.shift == pytest.approx(0, abs=1e-4)


def test_one_class_is_refused(sample: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, labels = sample
    with pytest.raises(TrainingError, match="validation rows have one class only"):
        train_head(vectors, labels, vectors, np.zeros(200, dtype=int))


def test_training_rows_are_shuffled_by_their_number() -> None:
    np.random.seed(20)
    order = np.arange(20)
    np.random.shuffle(order)
    assert_allclose(shuffled(np.arange(20), np.arange(20))[0], order)


def test_smaller_samples_are_prefixes_of_larger_ones() -> None:
    labels = np.repeat([0, 1], [300, 11])
    small, large = sample_shots(labels, 8, 3), sample_shots(labels, 64, 3)
    np.testing.assert_array_equal(np.concatenate([large[:8], large[64:72]]), small)


def test_rows_repeat_only_beyond_the_size_of_a_class() -> None:
    labels = np.repeat([0, 1], [300, 11])
    positives = sample_shots(labels, 16, 0)[16:]
    assert sorted(positives[:11]) == list(range(300, 311))
    assert len(positives) == 16


def test_platt_scaling_does_not_depend_on_the_scale_of_the_logits() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    logits = labels + rng.standard_normal(200)
    found, tiny = platt(logits, labels), platt(logits * 1e-7 - 0.5, labels)
    assert tiny(logits * 1e-7 - 0.5) == pytest.approx(found(logits), abs=1e-4)


def test_a_prototype_heads_probability_is_the_softmax_of_distances_to_the_means() -> None:
    x = np.array([[0.0, 0], [2, 0], [5, 4], [7, 4]])
    head = train_prototypes(x, np.array([0, 0, 1, 1]), x[:0], np.array([]))
    probability = head.probability(np.array([[1.0, 0], [1, 3]]))
    # Means (1, 0) and (6, 4): distances 0 and the root of 41, then 3 and the root of 26.
    expected = [np.exp(-b) / (np.exp(-a) + np.exp(-b)) for a, b in ((0, np.sqrt(41)), (3, np.sqrt(26)))]
    assert_allclose(probability, expected)
    sparse = train_prototypes(csr_matrix(x), np.array([0, 0, 1, 1]), x[:0], np.array([]))
    assert_allclose(sparse.probability(csr_matrix([[1.0, 0], [1, 3]])), expected)
