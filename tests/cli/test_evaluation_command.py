from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner, Result

from ehrdb.cli.evaluate import evaluate
from ehrdb.errors import ConfigError, TrainingError

app = typer.Typer()
app.command()(evaluate)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks of 240 patients; the first encoder knows their outcome, the second is noise."""
    folder = tmp_path_factory.mktemp("evaluation")
    random = np.random.default_rng(0)
    patient = np.arange(240)
    keys = {"patient_id": patient, "prediction_time": [datetime(2020, 1, 1)] * 240}
    outcome = random.integers(0, 2, (240, 2))
    known = outcome @ random.normal(size=(2, 8)) + random.normal(size=(240, 8)) / 2
    for name, vectors in (("known", known), ("noise", random.normal(size=(240, 8)))):
        pl.DataFrame({**keys, "embedding": vectors.tolist()}).write_parquet(folder / f"{name}.parquet")
    split = np.array(["train", "val", "test"])[patient % 3]
    pl.concat(
        pl.DataFrame({**keys, "task": [task] * 240, "value": outcome[:, i], "split": split})
        for i, task in enumerate(["guo_icu", "own_task"])
    ).write_parquet(folder / "labels.parquet")
    return folder


@cache
def answered(folder: Path, *options: str) -> str:
    """What is printed, asked once of the same files."""
    return run(folder, *options).stdout


def run(folder: Path, *options: str) -> Result:
    files = ("--embeddings", str(folder / "known.parquet"), "--labels", str(folder / "labels.parquet"))
    return CliRunner().invoke(app, [*files, *options], catch_exceptions=False)


def test_json_lists_every_run(folder: Path) -> None:
    results = json.loads(run(folder, "--k", "8", "--k", "-1", "--replicates", "2", "--json").stdout)
    assert [(row["task"], row["k"], row["replicate"]) for row in results] == [
        (task, k, replicate) for task in ("guo_icu", "own_task") for k, replicate in ((8, 0), (8, 1), (-1, 0))
    ]
    assert results[0]["best_c"] > 0
    for metric in ("auroc", "auprc", "brier"):
        assert set(results[0][metric]) == {"score", "std", "lower", "upper", "mean"}


def test_numbers_do_not_depend_on_workers(folder: Path) -> None:
    one, two = (run(folder, "--k", "4", "--json", "--workers", workers).stdout for workers in "12")
    assert one == two


def test_probabilities_are_kept_in_row_order(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "probabilities.parquet"
    run(folder, "--k", "2", "--replicates", "2", "--probabilities", str(file))
    frame = pl.read_parquet(file)
    assert frame.columns == [
        "patient_id",
        "prediction_time",
        "task",
        "k",
        "replicate",
        "label",
        "probability",
    ]
    assert frame.filter(task="own_task", replicate=1)["patient_id"].to_list() == list(range(2, 240, 3))


def test_another_encoder_is_compared_task_by_task(folder: Path) -> None:
    options = ("--k", "-1", "--compare", str(folder / "noise.parquet"), "--json")
    tests = json.loads(answered(folder, *options))["paired_tests"]
    assert [(test["task"], test["outcome"]) for test in tests] == [("guo_icu", "win"), ("own_task", "win")]
    assert all(test["p_holm"] == pytest.approx(2 * 2 / 10_001) for test in tests)


def test_any_model_can_be_the_one_that_is_tested_against_the_others(folder: Path) -> None:
    options = ("--k", "-1", "--compare", str(folder / "noise.parquet"), "--json")
    answer = json.loads(run(folder, *options, "--first", "noise").stdout)
    own = json.loads(answered(folder, *options))
    assert {test["against"] for test in answer["paired_tests"]} == set(answer["others"]) == {"known"}
    assert [test["delta"] for test in answer["paired_tests"]] == [-test["delta"] for test in own["paired_tests"]]
    with pytest.raises(ConfigError, match="no model here is called luck"):
        run(folder, *options, "--first", "luck")


def test_tables_show_tasks_groups_and_verdicts(folder: Path) -> None:
    text = run(folder, "--k", "-1", "--compare", str(folder / "noise.parquet")).stdout
    for word in ("guo_icu", "own_task", "(mean)", "win"):
        assert word in text


def test_models_stand_side_by_side_in_the_papers_table(folder: Path) -> None:
    options = ("--k", "-1", "--compare", str(folder / "noise.parquet"), "--table")
    rows = json.loads(run(folder, *options, "--json").stdout)
    assert [row["model"] for row in rows] == ["known", "noise"]
    assert list(rows[0]) == ["model", "trained on", "Operational outcomes", "Other tasks", "Mean of the groups"]
    shown = run(folder, *options).stdout
    assert rows[0]["Operational outcomes"].split()[0] in shown
    assert "win" not in shown


def test_a_task_of_one_class_is_refused_and_nothing_written(folder: Path, tmp_path: Path) -> None:
    labels = pl.read_parquet(folder / "labels.parquet")
    no_test = (pl.col("task") == "own_task") & (pl.col("split") == "test")
    file = tmp_path / "labels.parquet"
    labels.with_columns(value=pl.when(no_test).then(0).otherwise("value")).write_parquet(file)
    written = tmp_path / "probabilities.parquet"
    with pytest.raises(TrainingError, match="task own_task: the test split has 0 positive labels of 80"):
        run(folder, "--labels", str(file), "--probabilities", str(written))
    assert not written.exists()


def test_patients_add_a_baseline_and_the_report_their_subgroups(folder: Path, tmp_path: Path) -> None:
    patients, report = tmp_path / "patients.parquet", tmp_path / "report.html"
    pl.DataFrame(
        {
            "patient_id": range(240),
            "birth_time": [datetime(1950, 1, 1)] * 240,
            "sex": ["F", "M"] * 120,
            "race": [None] * 240,
        },
        schema_overrides={"race": pl.String},
    ).write_parquet(patients)
    options = ("--k", "-1", "--patients", str(patients), "--report", str(report), "--json")
    answer = json.loads(run(folder, *options).stdout)
    assert {test["against"] for test in answer["paired_tests"]} == set(answer["others"]) == {"demographics only"}
    assert [run["task"] for run in answer["others"]["demographics only"]] == [run["task"] for run in answer["results"]]
    page = report.read_text()
    assert "AUROC by subgroup" in page
    assert "sha256" in page


@pytest.mark.parametrize("options", [["--k", "0"], ["--probabilities", "no/such/folder/file.parquet"]])
def test_options_that_cannot_work_are_refused(folder: Path, options: list[str]) -> None:
    with pytest.raises(ConfigError):
        run(folder, *options)


def test_counts_beside_vectors_of_files_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="name tasks to evaluate the database"):
        run(folder, "--with", "counts")


def test_figures_of_files_are_not_kept_in_a_database(folder: Path) -> None:
    with pytest.raises(ConfigError, match="figures from files"):
        run(folder, "--keep")
