"""Evaluation from the database: the same numbers as from files, with the baselines beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import ehrdb
from ehrdb.cli import app
from ehrdb.database import Connection, Database
from ehrdb.embedding import refresh
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.errors import NotAllowed, TrainingError
from ehrdb.evaluation import Run, evaluate, kept
from ehrdb.evaluation.evaluation import answer
from ehrdb.evaluation.question import Question, from_database, from_files, prepare
from ehrdb.prediction.bootstrap import Estimate
from ehrdb.prediction.heads import train_prototypes
from ehrdb.prediction.stored_counts import Counting
from ehrdb.prediction.training import embed_labels, train
from ehrdb.prediction.trees import train_forest
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write

PATIENTS = 120


@pytest.fixture
def encoder(database: Database) -> RegisteredEncoder:
    """One stay for each patient; those of a kind, which their second code names, stay long."""
    with database.transaction() as connection:
        patients = range(1, PATIENTS + 1)
        write(connection, [Record(p, day(1), f"SNOMED/{1000 + p % 3}") for p in patients])
        write(connection, [Record(p, day(2), "Visit/IP") for p in patients])
        write(connection, [Record(p, day(29), f"SNOMED/{p}") for p in patients])
        connection.execute(
            "update ehrdb.event e set visit_class = 'inpatient',"
            "       end_time = time + case when patient_id % 3 = 0 then interval '8 days' else interval '2 days' end"
            "  from ehrdb.concept c where c.code_id = e.code_id and c.code = 'Visit/IP'"
        )
        connection.execute("update ehrdb.patient set sex = case when patient_id % 2 = 0 then 'F' else 'M' end")
        return add_encoder(connection)


def ask(database: Database, encoder: RegisteredEncoder, *baselines: str) -> Question:
    prompt = embed_labels(database, encoder, lambda _: FakeEncoder(), "guo_los")
    with database.transaction() as connection:
        return from_database(connection, [encoder], {encoder.name: {"guo_los": prompt}}, set(baselines))


def runs(question: Question, model: str) -> list[Run]:
    return list(evaluate(question.targets[model], [4, -1], replicates=2, trainer=question.trainers[model]))


def write_files(connection: Connection, folder: Path) -> None:
    """What the database has, as the files that `ehrdb evaluate` takes."""
    rows = connection.execute(
        "select l.patient_id, l.prediction_time, l.task, l.value, ehrdb.split_of(l.patient_id),"
        "       ehr.embedding(l.patient_id, l.prediction_time)::real[]"
        "  from ehr.label l order by 1, 2"
    ).fetchall()
    names = ["patient_id", "prediction_time", "task", "value", "split", "embedding"]
    frame = pl.DataFrame(rows, names, orient="row").with_columns(pl.col("embedding").cast(pl.List(pl.Float32)))
    frame.drop("embedding").write_parquet(folder / "labels.parquet")
    frame.select("patient_id", "prediction_time", "embedding").write_parquet(folder / "vectors.parquet")


def test_the_database_gives_the_numbers_of_the_same_vectors_in_files(
    database: Database, encoder: RegisteredEncoder, tmp_path: Path
) -> None:
    stored = ask(database, encoder)
    with database.transaction() as connection:
        write_files(connection, tmp_path)
    in_files = from_files(tmp_path / "vectors.parquet", tmp_path / "labels.parquet", [], None)
    for one, other in zip(runs(stored, encoder.name), runs(in_files, "vectors"), strict=True):
        assert one.metrics.auroc.score == other.metrics.auroc.score
        assert (one.probability == other.probability).all()


def test_an_evaluation_embeds_what_its_labels_need_and_leaves_the_rest_to_a_refresh(
    database: Database, encoder: RegisteredEncoder
) -> None:
    model = FakeEncoder()
    prepare(database, lambda _: model, ["guo_los"], [encoder.name], set())
    with database.transaction() as connection:
        asked = "select distinct t.text from ehr.label l, ehr.timeline(l.patient_id, l.prediction_time) t (text)"
        assert sorted(model.seen) == sorted(text for (text,) in connection.execute(asked))
    refresh(database, encoder, lambda: model)
    with database.transaction() as connection:
        assert connection.execute("select count(*) from ehrdb.patient_embedding").fetchone() == (PATIENTS,)


def test_a_study_runs_an_encoder_on_texts_of_several_formats(
    database: Database, encoder: RegisteredEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FakeEncoder()
    monkeypatch.setenv("EHRDB_DATABASE_URL", database.url)
    monkeypatch.setattr("ehrdb.client.load_encoder", lambda settings, encoder: model)
    formats = "list_recent_time, list_recent, list_recent_only_labs"
    (tmp_path / "study.yaml").write_text(
        f"{{title: t, encoders: [fake], formats: [{formats}], tasks: [guo_los], k: [-1]}}"
    )
    done = CliRunner().invoke(app, ["study", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    assert list(json.loads(done.stdout)["others"]) == ["fake", "fake:list_recent_only_labs"]
    with database.transaction() as connection:
        asked = (
            "select distinct t.text from ehr.label l,"
            "       ehr.timeline(l.patient_id, l.prediction_time, format => 'list_recent_time') t (text)"
        )
        assert {text for (text,) in connection.execute(asked)} <= set(model.seen)


def test_nothing_is_embedded_again_for_labels_whose_vectors_are_there(
    database: Database, encoder: RegisteredEncoder
) -> None:
    prepare(database, lambda _: FakeEncoder(), ["guo_los"], [encoder.name], set())
    prepare(database, lambda _: pytest.fail("the model is not needed"), ["guo_los"], [encoder.name], set())


def test_counts_see_the_code_that_decides_and_nothing_later(database: Database, encoder: RegisteredEncoder) -> None:
    question = ask(database, encoder, "counts", "demographics")
    assert list(question.targets) == [
        encoder.name,
        "counts, LightGBM",
        "counts, logistic regression",
        "demographics only",
    ]
    assert runs(question, "counts, logistic regression")[-1].metrics.auroc.score == 1
    # By the end of the admission day age, the visit and the three kinds' codes are known, those of day 29 are not.
    assert (question.targets["counts, LightGBM"][0].features.getnnz(axis=0) > 0).sum() == 5


def test_other_heads_stand_on_the_same_vectors_and_a_forest_on_counts_too(
    database: Database, encoder: RegisteredEncoder
) -> None:
    ask(database, encoder)
    heads = ("forest", "prototypes")
    question = prepare(database, lambda _: FakeEncoder(), ["guo_los"], [encoder.name], {"counts"}, heads=heads)
    own, forest, prototypes, *_ = question.targets.values()
    assert forest is own
    assert prototypes is own
    assert question.trainers[f"{encoder.name}, forest"] is train_forest
    assert question.trainers[f"{encoder.name}, prototypes"] is train_prototypes
    assert question.targets["counts, forest"] is question.targets["counts, LightGBM"]
    assert question.trainers["counts, forest"] is train_forest


def test_counts_are_made_as_asked_for_with_sex_and_race_beside(database: Database, encoder: RegisteredEncoder) -> None:
    ask(database, encoder)
    counting = Counting((timedelta(hours=1),), frozenset({"SNOMED/1000"}), demographics=True)
    question = prepare(database, lambda _: FakeEncoder(), ["guo_los"], [encoder.name], {"counts"}, counting=counting)
    target = question.targets["counts, LightGBM"][0]
    # Age, one code in one bin (nobody has had it within an hour), women, men, and that nobody's race is known.
    assert target.features.shape[1] == 5
    assert target.features.getnnz(axis=0)[1] == 0
    women = target.features[target.test.row].toarray()[:, 2]
    assert (women == (target.test.patient_id % 2 == 0)).all()


def test_a_study_file_says_how_counts_are_made_and_which_model_is_first(
    database: Database, encoder: RegisteredEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "known.txt").write_text("SNOMED/1001\n")
    (tmp_path / "study.yaml").write_text(
        "{title: t, encoders: [fake], tasks: [guo_los], baselines: [counts], k: [-1], first: 'counts, LightGBM',"
        " counting: {days: [1, 365], codes: known.txt, demographics: true}}"
    )
    monkeypatch.setenv("EHRDB_DATABASE_URL", database.url)
    monkeypatch.setattr("ehrdb.client.load_encoder", lambda settings, encoder: FakeEncoder())
    done = CliRunner().invoke(app, ["study", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    counting = Counting((timedelta(days=1), timedelta(days=365)), frozenset({"SNOMED/1001"}), demographics=True)
    asked = prepare(database, lambda _: FakeEncoder(), ["guo_los"], [encoder.name], {"counts"}, counting=counting)
    expected = answer(asked.led_by("counts, LightGBM"), [-1]).scores()
    found = pl.read_csv(tmp_path / "out" / "scores.csv")
    assert found.select("model", "auroc").equals(expected.select("model", "auroc"))
    assert found["model"][0] == "counts, LightGBM"
    assert found.filter(model="counts, logistic regression")["auroc"][0] < 1  # as it is where every code counts


def test_a_task_without_labels_is_named(database: Database, encoder: RegisteredEncoder) -> None:
    prompt = embed_labels(database, encoder, lambda _: FakeEncoder(), "guo_los")
    with database.transaction() as connection, pytest.raises(TrainingError, match="new_lupus has no labels"):
        from_database(connection, [encoder], {encoder.name: {"guo_los": prompt, "new_lupus": prompt}}, set())


def test_a_few_shot_head_is_scored_over_its_replicates(database: Database, encoder: RegisteredEncoder) -> None:
    (result,) = train(database, encoder, lambda _: FakeEncoder(), "guo_los", k=4, replicates=2)
    scores = [run.metrics.auroc.score for run in runs(ask(database, encoder), encoder.name)[:2]]
    assert result.test["auroc"] == pytest.approx(sum(scores) / 2)
    assert (result.k, result.replicates) == (4, 2)


def test_an_evaluation_shows_its_scores_and_tests_in_a_notebook(database: Database, encoder: RegisteredEncoder) -> None:
    found = answer(ask(database, encoder, "counts"), [-1], replicates=1)
    shown = found._repr_html_()
    assert shown.count("<h4>") == 2
    assert "counts, LightGBM" in shown


KEPT = "select {} from ehr.evaluation order by is_evaluated desc, model, k desc"


def asked_to_keep(database: Database, encoder: RegisteredEncoder, *baselines: str) -> Question:
    return replace(ask(database, encoder, *baselines), kept_in=database)


def kept_rows(database: Database, columns: str) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute(KEPT.format(columns).encode()).fetchall()


def test_what_is_kept_of_an_evaluation_are_its_figures(database: Database, encoder: RegisteredEncoder) -> None:
    found = answer(asked_to_keep(database, encoder, "demographics"), [4, -1], replicates=2)
    rows = kept_rows(database, "model, k, is_evaluated, replicates, test_labels, verdict is null")
    labels = len(found.targets[0].test.labels)
    assert rows == [
        (encoder.name, 4, True, 2, labels, True),
        (encoder.name, -1, True, 1, labels, True),
        ("demographics only", 4, False, 2, labels, False),
        ("demographics only", -1, False, 1, labels, False),
    ]
    few, whole, *_ = kept_rows(database, "auroc, brier")
    first, second, every = ((run.metrics.auroc.score, run.metrics.brier.score) for run in found.own)
    assert few == pytest.approx(((first[0] + second[0]) / 2, (first[1] + second[1]) / 2))
    assert whole == pytest.approx(every)
    tests = {test.k: test for _, test in found.tests}
    differences = kept_rows(database, "difference, difference_lower, difference_upper, p_holm, verdict")[2:]
    assert differences == [(t.delta, t.lower, t.upper, t.p_holm, t.outcome) for t in (tests[4], tests[-1])]


def test_an_interval_is_the_mean_of_its_samples_and_null_where_one_has_none(
    database: Database, encoder: RegisteredEncoder
) -> None:
    found = answer(ask(database, encoder), [4], replicates=2)
    estimates = [Estimate(0.6, 0.1, 0.5, 0.7, 0.6), Estimate(0.8, 0.1, float("nan"), 0.9, 0.8)]
    runs = [
        replace(run, metrics=replace(run.metrics, auroc=estimate))
        for run, estimate in zip(found.own, estimates, strict=True)
    ]
    (row,) = kept.rows_of(replace(found, runs={encoder.name: runs}))
    assert (row["auroc"], row["auroc_lower"], row["auroc_upper"]) == (pytest.approx(0.7), None, pytest.approx(0.8))


def test_an_evaluation_is_kept_beside_those_of_before(database: Database, encoder: RegisteredEncoder) -> None:
    for _ in range(2):
        answer(asked_to_keep(database, encoder), [-1], replicates=1)
    assert len({at for (at,) in kept_rows(database, "evaluated_at")}) == 2


@pytest.mark.parametrize(("keep", "rows"), [(True, 1), (False, 0)])
def test_the_notebook_and_the_command_keep_what_is_to_be_kept(
    database: Database, encoder: RegisteredEncoder, monkeypatch: pytest.MonkeyPatch, keep: bool, rows: int
) -> None:
    monkeypatch.setenv("EHRDB_DATABASE_URL", database.url)
    monkeypatch.setattr("ehrdb.client.load_encoder", lambda settings, encoder: FakeEncoder())
    with ehrdb.connect() as db:
        db.evaluate("guo_los", k=[-1], keep=keep)
    assert len(kept_rows(database, "model")) == rows
    done = CliRunner().invoke(app, ["evaluate", "guo_los", "--k", "-1", *(["--keep"] if keep else [])])
    assert done.exit_code == 0, done.output
    assert len(kept_rows(database, "model")) == 2 * rows


def test_who_may_not_keep_an_evaluation_hears_it_before_the_work(analyst: Database) -> None:
    with ehrdb.connect(analyst.url) as db, pytest.raises(NotAllowed, match="may not keep evaluations"):
        db.evaluate("no_such_task", keep=True)


def test_a_client_says_what_intervals_draw_and_how_long_the_last_fit_goes_on(
    database: Database, encoder: RegisteredEncoder
) -> None:
    expected = answer(ask(database, encoder), [-1], draw="rows", max_iter=1).scores()
    with ehrdb.connect(database.url) as db:
        found = db.evaluate("guo_los", encoder.name, k=[-1], bootstrap="rows", max_iter=1)
        usual = db.evaluate("guo_los", encoder.name, k=[-1])
    assert found.scores().equals(expected)
    assert not usual.scores().equals(expected)
