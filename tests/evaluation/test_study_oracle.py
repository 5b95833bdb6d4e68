"""Study files, run end to end on the reference's inputs: its numbers come out as tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ehrdb.database import Database
from ehrdb.evaluation.question import prepare
from ehrdb.evaluation.study import PAPER, of_files, read_study, run_study
from ehrdb.events import load_ehrshot
from ehrdb.prediction.sampling import ALL
from ehrdb.testing import FakeEncoder
from tests.conftest import shared
from tests.records import add_encoder

FILES = "title: The reference's\nembeddings: [a.parquet, b.parquet]\nlabels: labels.parquet\nk: [8, -1]\n"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference's vectors and labels as files, and the study that compares them."""
    folder = tmp_path_factory.mktemp("study")
    data = np.load(shared("oracle/evaluation/new_versions/data.npz"))
    times = data["label_time"].astype("datetime64[us]")
    keys = {"patient_id": data["patient_id"], "prediction_time": times}
    for name in "ab":
        pl.DataFrame({**keys, "embedding": data[f"X_{name}"]}).write_parquet(folder / f"{name}.parquet")
    columns = [
        pl.DataFrame({**keys, "value": data["Y"][:, column], "split": data["split"]}).with_columns(task=pl.lit(task))
        for column, task in enumerate(data["subtasks"].tolist())
    ]
    pl.concat(columns).write_parquet(folder / "labels.parquet")
    (folder / "study.yaml").write_text(FILES)
    asked = read_study(folder / "study.yaml")
    run_study(asked, of_files(asked), folder / "out")
    return folder / "out"


def test_a_study_writes_the_references_scores_means_and_tests(study: Path) -> None:
    expected = json.loads(shared("oracle/evaluation/new_versions/expected.json").read_text())
    scores = pl.read_csv(study / "scores.csv")
    for key, wanted in expected["results"].items():
        model, task, k, replicate = key.split("|")
        if model in "ab":
            of_run = {"model": model, "task": task, "k": int(k[2:]), "replicate": int(replicate[4:])}
            row = scores.filter(**of_run).row(0, named=True)
            found = [row[name] for name in ("auroc", "auroc_lower", "auroc_upper")]
            assert found == pytest.approx([wanted["auroc"][name] for name in ("score", "lower", "upper")], abs=1e-9)
    rows = pl.read_csv(study / "means.csv").filter(k=ALL).rows(named=True)
    means = {(row["model"], row["group"]): row for row in rows}
    for model in "ab":
        for group, wanted in expected["aggregate"][f"{model}|auroc"].items():
            assert [means[model, group][name] for name in wanted] == pytest.approx(list(wanted.values()), abs=1e-9)
    tests = pl.read_csv(study / "paired_tests.csv")
    for k in (8, -1):
        found = tests.filter(k=k)["p_holm"].to_list()
        assert found == pytest.approx([row["p_holm"] for row in expected["paired"][f"k={k}"]], abs=1e-9)
    assert "The reference" in (study / "report.html").read_text()


def test_the_papers_study_runs_on_the_references_records(database: Database, tmp_path: Path) -> None:
    load_ehrshot(database, shared("oracle/labels/public"))
    with database.transaction() as connection:
        add_encoder(connection)
    tasks = ["guo_los", "lab_anemia", "lab_hypoglycemia"]
    asked = read_study(PAPER).instead(["fake"], tasks).model_copy(update={"k": [4, ALL], "replicates": 1})
    question = prepare(database, lambda encoder: FakeEncoder(), asked.tasks, asked.encoders, {"demographics"})
    found = run_study(asked, question, tmp_path / "out")
    scores = pl.read_csv(tmp_path / "out" / "scores.csv")
    assert scores.height == 2 * len(tasks) * 2  # models, tasks, k
    assert {run.task for run in found.own} == set(scores["task"]) == set(tasks)
    assert set(pl.read_csv(tmp_path / "out" / "means.csv")["group"]) == {"guo_", "lab_", "macro"}
