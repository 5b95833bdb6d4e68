from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ehrdb.evaluation.diagnostics import (
    MINIMUM_CELL,
    age_group,
    bands,
    decision_curve,
    expected_calibration_error,
    precision_recall_curve,
    roc_curve,
    subgroups,
)
from ehrdb.prediction.bootstrap import Floats, Integers

TestSet = tuple[Integers, Floats, Integers]


@pytest.fixture(scope="module")
def calibrated() -> TestSet:
    """20,000 labels of 4,000 patients whose outcome has exactly the predicted probability."""
    random = np.random.default_rng(0)
    probability = random.random(20_000)
    return (random.random(20_000) < probability).astype(int), probability, np.arange(20_000) // 5


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=200), st.integers(1, 20))
def test_no_band_holds_fewer_patients_than_the_minimum(rows: list[tuple[int, int]], number: int) -> None:
    patient, score = np.array(rows, dtype=int).reshape(-1, 2).T
    found = bands(np.zeros(len(rows), dtype=int), score / 5, patient, number)
    assert all(band.patients >= MINIMUM_CELL for band in found)
    assert sum(band.labels for band in found) == (len(rows) if len(set(patient)) >= MINIMUM_CELL else 0)


def test_ten_patients_are_no_band_of_their_own() -> None:
    for patients, number in ((20, 1), (22, 2)):
        assert len(bands(np.zeros(patients, int), np.arange(patients) / 100, np.arange(patients), 2)) == number


def test_equal_probabilities_share_a_band() -> None:
    found = bands(np.zeros(100, int), np.repeat([0.75, 0.25], 50), np.arange(100), 10)
    assert [band.mean_probability for band in found] == [0.75, 0.25]


def test_calibration_error_is_small_where_probabilities_are_true(calibrated: TestSet) -> None:
    labels, probability, patient = calibrated
    assert expected_calibration_error(bands(labels, probability, patient, 10)) < 0.02
    assert expected_calibration_error(bands(labels, probability / 2, patient, 10)) == pytest.approx(0.25, abs=0.02)


def test_area_under_the_banded_roc_curve_is_close_to_the_auroc(calibrated: TestSet) -> None:
    labels, probability, patient = calibrated
    false, true = roc_curve(bands(labels, probability, patient, 100))
    assert np.trapezoid(true, false) == pytest.approx(roc_auc_score(labels, probability), abs=1e-3)


def test_precision_at_full_recall_is_the_prevalence(calibrated: TestSet) -> None:
    labels, probability, patient = calibrated
    recall, precision = precision_recall_curve(bands(labels, probability, patient, 100))
    assert recall[-1] == 1
    assert precision[-1] == pytest.approx(labels.mean())


def test_a_calibrated_model_is_worth_at_least_treating_everyone(calibrated: TestSet) -> None:
    model, everyone = decision_curve(bands(*calibrated, 100), [0, 0.25, 0.5, 0.75])
    assert model == pytest.approx([0.5, 0.375, 0.25, 0.125], abs=0.01)  # (1 - t) / 2 for uniform probabilities
    assert all(m >= e - 0.01 for m, e in zip(model, everyone, strict=True))


def test_small_subgroups_are_pooled() -> None:
    random = np.random.default_rng(0)
    labels, probability, patient = random.integers(0, 2, 200), random.random(200), np.arange(200)
    levels = pl.DataFrame({"race": ["a"] * 100 + ["b"] * 85 + ["c"] * 10 + [None] * 5})
    found = subgroups(labels, probability, patient, levels)
    assert [(group.level, group.patients) for group in found] == [("a", 100), ("b", 85), ("other", 15)]


def test_a_single_small_level_takes_the_next_smallest_with_it() -> None:
    levels = pl.DataFrame({"sex": ["f"] * 60 + ["m"] * 30 + ["x"] * 5})
    found = subgroups(np.arange(95) % 2, np.linspace(0, 1, 95), np.arange(95), levels)
    assert [(group.level, group.patients) for group in found] == [("f", 60), ("other", 35)]


def test_a_subgroup_with_few_positive_patients_has_no_estimate() -> None:
    labels = (np.arange(200) % 20 == 0).astype(int)
    levels = pl.DataFrame({"sex": ["f", "m"] * 100})
    assert [group.auroc for group in subgroups(labels, np.linspace(0, 1, 200), np.arange(200), levels)] == [None] * 2


def test_age_groups_start_at_their_first_year() -> None:
    ages = pl.DataFrame({"age": [17.9, 18.0, 39.9, 40.0, 80.0, None]})
    groups = ages.select(age_group(pl.col("age"))).to_series().to_list()
    assert groups == ["0-17", "18-39", "18-39", "40-64", "80+", None]
