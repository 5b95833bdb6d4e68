"""The reference's numbers: a slice kept with the project, and the whole set where it is at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ehrdb.evaluation import Estimate, Metrics, Run, compare, draw_patients, evaluate, group_means, holm, measure
from ehrdb.evaluation.baselines import train_trees
from ehrdb.prediction.heads import train_head
from ehrdb.prediction.sampling import sample_shots
from ehrdb.prediction.targets import Split, Target
from tests.conftest import shared

GOLDEN = Path(__file__).parents[1] / "golden" / "evaluation"
Data = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def golden() -> Data:
    return dict(np.load(GOLDEN / "guo_x.npz"))


def test_samples_are_the_references(golden: Data) -> None:
    for seed in range(5):
        np.testing.assert_array_equal(sample_shots(golden["train_labels"], 8, seed), golden["train_shots"][seed])
        np.testing.assert_array_equal(sample_shots(golden["val_labels"], 8, seed), golden["val_shots"][seed])


def test_head_gives_the_references_probabilities(golden: Data) -> None:
    labels = np.repeat([0, 1], 8)
    head = train_head(golden["x_train"], labels, golden["x_val"], labels)
    np.testing.assert_allclose(head.probability(golden["x_test"]), golden["probability"][:40], atol=1e-9)


def test_metrics_and_intervals_are_the_references(golden: Data) -> None:
    expected = json.loads((GOLDEN / "guo_x.json").read_text())
    drawing = draw_patients(golden["test_patient_id"])
    _assert_metrics(measure(golden["test_labels"].astype(int), golden["probability"], drawing), expected)


@pytest.fixture(scope="module")
def oracle() -> Data:
    return dict(np.load(shared("oracle/evaluation/new_versions/data.npz")))


@pytest.fixture(scope="module")
def expected() -> Any:
    return _json("expected.json")


@pytest.fixture(scope="module")
def runs(oracle: Data) -> dict[str, Run]:
    return {
        f"{name}|{run.task}|k={run.k}|rep={run.replicate}": run
        for name in ("a", "b")
        for run in evaluate(_targets(oracle, oracle[f"X_{name}"]), [8, -1])
    }


def test_every_run_of_the_reference_is_reproduced(runs: dict[str, Run], expected: Any) -> None:
    probabilities = np.load(shared("oracle/evaluation/new_versions/probas.npz"))
    for key, run in runs.items():
        assert run.params["C"] == expected["results"][key]["best_C"]
        _assert_metrics(run.metrics, expected["results"][key])
        stored = probabilities[key.replace("|", "__").replace("=", "")]
        np.testing.assert_allclose(run.probability, stored, atol=1e-9)


def test_float16_vectors_are_scaled_in_float16(oracle: Data, expected: Any) -> None:
    targets = _targets(oracle, oracle["X_a_float16"])[:1]
    for run in evaluate(targets, [8, -1], replicates=1):
        reference = expected["results"][f"a_float16|{run.task}|k={run.k}|rep={run.replicate}"]
        assert run.params["C"] == reference["best_C"]
        _assert_metrics(run.metrics, reference)


@pytest.mark.parametrize("name", ["c_illconditioned", "a_gbm"])
def test_unconverged_fits_and_boosted_trees_are_the_references(oracle: Data, name: str) -> None:
    is_gbm = name == "a_gbm"
    vectors = oracle["X_a"] if is_gbm else np.load(shared("oracle/evaluation/new_versions/data_c.npz"))["X_c"]
    targets = [target for target in _targets(oracle, vectors) if target.task in ("guo_x", "new_x")]
    extra = _json("expected_extra.json")
    for run in evaluate(targets, [8, -1], replicates=1, trainer=train_trees if is_gbm else train_head):
        reference = extra[f"{name}|{run.task}|k={run.k}|rep={run.replicate}"]
        assert run.params.items() <= reference["params"].items()
        _assert_metrics(run.metrics, reference)


@pytest.mark.parametrize("k", [8, -1])
def test_paired_tests_are_the_references(runs: dict[str, Run], oracle: Data, expected: Any, k: int) -> None:
    reference = expected["paired"][f"k={k}"]
    a, b = ([run for key, run in runs.items() if key[0] == model and run.k == k] for model in "ab")
    tests = holm(compare(_targets(oracle, oracle["X_a"]), a, b))
    for test, row in zip(tests, reference, strict=True):
        found = (test.delta, test.lower, test.upper, test.p, test.p_holm)
        wanted = [row[name] for name in ("delta", "ci_low", "ci_high", "p", "p_holm")]
        np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("name", ["a|auroc", "a|auprc", "b|auroc", "b|auprc"])
def test_group_and_macro_means_are_the_references(expected: Any, name: str) -> None:
    model, metric = name.split("|")
    estimates = {
        key.split("|")[1]: Estimate(**result[metric])
        for key, result in expected["results"].items()
        if key.startswith(f"{model}|") and "k=-1" in key
    }
    for group, mean in group_means(estimates).items():
        row = expected["aggregate"][name][group]
        wanted = [row[part] for part in ("mean", "sd", "lower", "upper")]
        np.testing.assert_allclose((mean.mean, mean.sd, mean.lower, mean.upper), wanted, atol=1e-9)


def _targets(oracle: Data, vectors: NDArray[Any]) -> list[Target]:
    rows = {name: np.flatnonzero(oracle["split"] == name) for name in ("train", "val", "test")}
    times = oracle["label_time"].astype("datetime64[us]")

    def split(row: NDArray[np.int64], column: int) -> Split:
        return Split(row, oracle["Y"][row, column], oracle["patient_id"][row], times[row])

    return [
        Target(str(task), vectors, *(split(row, column) for row in rows.values()))
        for column, task in enumerate(oracle["subtasks"])
    ]


def _assert_metrics(metrics: Metrics, expected: Any) -> None:
    for name in ("auroc", "auprc", "brier"):
        for part, value in expected[name].items():
            assert getattr(getattr(metrics, name), part) == pytest.approx(value, abs=1e-9), (name, part)


def _json(name: str) -> Any:
    return json.loads(shared(f"oracle/evaluation/new_versions/{name}").read_text())
