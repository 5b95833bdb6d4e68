"""A study: one file says what is compared, and what is finished is not done again."""

from __future__ import annotations

import stat
from pathlib import Path

import polars as pl
import pytest

from ehrdb.errors import ConfigError, InputError
from ehrdb.evaluation import evaluation
from ehrdb.evaluation import run as protocol
from ehrdb.evaluation.evaluation import Evaluation, answer
from ehrdb.evaluation.study import PAPER, UK_BIOBANK, Study, compared, of_files, read_study, run_study
from ehrdb.prediction.sampling import ALL, SHOTS
from ehrdb.prediction.stored_counts import Counting
from ehrdb.prediction.tasks import benchmark_tasks
from ehrdb.prediction.uk_biobank import uk_biobank_names
from tests.records import day

STUDY = """
title: Two kinds of vectors
embeddings: [good.parquet, poor.parquet]
labels: labels.parquet
k: [2, -1]
replicates: 1
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two tasks of sixty patients, and two kinds of vectors, one of which tells the answer."""
    keys = {"patient_id": list(range(60)), "prediction_time": [day(1)] * 60}
    for name, telling in (("good", 1.0), ("poor", 0.0)):
        vectors = [[telling * (p % 2), (p * 7 % 60) / 60] for p in range(60)]
        pl.DataFrame({**keys, "embedding": vectors}).write_parquet(tmp_path / f"{name}.parquet")
    write_labels(tmp_path, lambda p: p % 2)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path / "study.yaml"


def write_labels(folder: Path, value: object) -> None:
    rows = [
        {
            "patient_id": p,
            "prediction_time": day(1),
            "task": task,
            "value": value(p),  # type: ignore[operator]
            "split": ("train", "val", "test")[p // 2 % 3],
        }
        for task in ("one", "other")
        for p in range(60)
    ]
    pl.DataFrame(rows).write_parquet(folder / "labels.parquet")


def run(file: Path) -> Evaluation:
    study = read_study(file)
    return run_study(study, of_files(study), file.parent / "out")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The parts for which heads were trained; nothing is drawn."""
    monkeypatch.setattr(Evaluation, "report", lambda self, title: title)
    found: list[tuple[str, int]] = []
    evaluate = protocol.evaluate

    def counted(targets, shots, **how):  # type: ignore[no-untyped-def]
        found.extend((target.task, k) for target in targets for k in shots)
        return evaluate(targets, shots, **how)

    monkeypatch.setattr(evaluation, "evaluate", counted)
    return found


def test_a_study_has_the_numbers_of_an_evaluation_and_writes_them_for_its_writer_alone(file: Path) -> None:
    found = run(file)
    study = read_study(file)
    assert found.scores().equals(answer(of_files(study), study.k, replicates=1).scores())
    out = file.parent / "out"
    written = {path.name for path in out.iterdir()}
    assert written == {"finished", "scores.csv", "means.csv", "table.csv", "paired_tests.csv", "report.html"}
    assert pl.read_csv(out / "scores.csv").height == found.scores().height == 2 * 2 * 2
    assert "Two kinds of vectors" in (out / "report.html").read_text()
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.is_file()} == {0o600}


def test_means_are_of_groups_and_at_every_row_of_the_groups_too(file: Path) -> None:
    run(file)
    means = pl.read_csv(file.parent / "out" / "means.csv")
    of_good = means.filter((pl.col("model") == "good") & (pl.col("k") == ALL))
    assert of_good.select("group", "mean").rows() == [("other", 1.0), ("macro", 1.0)]


def test_a_study_that_was_killed_goes_on_where_it_was(
    file: Path, done: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = vars(evaluation)["evaluate"]

    def killed(targets, shots, **how):  # type: ignore[no-untyped-def]
        if len(done) == 3:
            raise KeyboardInterrupt
        return counted(targets, shots, **how)

    monkeypatch.setattr(evaluation, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        run(file)
    monkeypatch.setattr(evaluation, "evaluate", counted)
    first = list(done)
    found = run(file)
    assert first == [("one", 2), ("one", ALL), ("other", 2)]
    assert len(done) == 2 * 2 * 2  # models, tasks, k: each once
    assert found.scores().equals(answer(of_files(read_study(file)), [2, ALL], replicates=1).scores())


def test_one_more_k_costs_what_is_its_own(file: Path, done: list[tuple[str, int]]) -> None:
    run(file)
    done.clear()
    file.write_text(STUDY.replace("[2, -1]", "[2, 4, -1]"))
    run(file)
    assert done == [("one", 4), ("other", 4)] * 2


def test_other_labels_are_another_question(file: Path, done: list[tuple[str, int]]) -> None:
    run(file)
    done.clear()
    write_labels(file.parent, lambda p: int(p % 4 in (0, 3)))
    run(file)
    assert len(done) == 2 * 2 * 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{title: t}", "name encoders and tasks"),
        ("{title: t, encoders: [a], tasks: [b], labels: l.parquet}", "name encoders and tasks"),
        ("{title: t, encoders: [a], tasks: [b], k: [0]}", "k must be 1 or more, or -1"),
        ("{title: t, encoders: [a], tasks: [b], shots: [2]}", "shots: Extra inputs are not permitted"),
        ("{title: t, encoders: [a], tasks: [b], replicates: 0}", "replicates: Input should be greater"),
        ("{title: t, encoders: [a], tasks: [b], counting: {days: [9]}}", "name counts among the baselines"),
        ("{title: t, embeddings: [a], labels: l.parquet, formats: [markdown]}", "name encoders and tasks"),
        ("[", "is not YAML"),
    ],
)
def test_what_is_no_study_is_refused_with_its_place(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "study.yaml").write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        read_study(tmp_path / "study.yaml")
    assert "study.yaml" in str(caught.value)


def test_each_encoder_is_compared_on_each_format() -> None:
    said = {"encoders": ["a", "b"], "formats": ["list_recent", "markdown"], "tasks": ["guo_los"]}
    study = Study.model_validate({"title": "t", **said})
    assert study.models == ["a:list_recent", "a:markdown", "b:list_recent", "b:markdown"]
    assert compared(study)["compare"] == study.models[1:]


def counting_in(folder: Path, said: str) -> Counting:
    file = folder / "study.yaml"
    file.write_text(f"{{title: t, encoders: [a], tasks: [b], baselines: [counts], counting: {said}}}")
    counting: Counting = compared(read_study(file))["counting"]
    return counting


def test_counts_are_the_papers_but_for_what_a_study_says(tmp_path: Path) -> None:
    assert counting_in(tmp_path, "{demographics: true}") == Counting(demographics=True)


@pytest.mark.parametrize("days", ["[0]", "[9, 3]", "[1000000]"])
def test_days_that_end_no_bins_are_refused(tmp_path: Path, days: str) -> None:
    with pytest.raises(ConfigError, match="age bins end at ascending days"):
        counting_in(tmp_path, f"{{days: {days}}}")


@pytest.mark.parametrize(("content", "said"), [(b" \n", "it holds no codes"), (b"\xff", "it cannot be read")])
def test_a_file_without_codes_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "codes.txt").write_bytes(content)
    with pytest.raises(InputError, match=f"codes.txt.*{said}"):
        counting_in(tmp_path, "{codes: codes.txt}")


def test_a_study_of_files_takes_no_other_encoders(file: Path) -> None:
    with pytest.raises(ConfigError, match="from them"):
        read_study(file).instead(["another"], [])


def test_the_papers_studies_have_their_tasks_and_samples(tmp_path: Path) -> None:
    study = read_study(PAPER)
    assert study.tasks == list(benchmark_tasks())
    assert (study.k, study.replicates) == ([*SHOTS, ALL], 5)
    biobank = read_study(UK_BIOBANK)
    assert set(biobank.tasks) == uk_biobank_names()
    assert (len(biobank.tasks), biobank.bootstrap, biobank.max_iter) == (25, "rows", 1000)
    fewer = study.instead(["mine"], ["guo_los"])
    assert (fewer.encoders, fewer.tasks, fewer.k) == (["mine"], ["guo_los"], study.k)
