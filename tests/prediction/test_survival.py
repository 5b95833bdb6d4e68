"""Time to an outcome: labels, hazards, and the figures of scikit-survival."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sksurv.metrics import brier_score, concordance_index_censored, integrated_brier_score
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv
from typer.testing import CliRunner

from ehrdb.cli import app
from ehrdb.database import Database
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.errors import ConfigError, InputError, TrainingError
from ehrdb.evaluation.evaluation import answer
from ehrdb.evaluation.question import Question, prepare
from ehrdb.evaluation.timed import ALIKE, answer_timed
from ehrdb.prediction import add_task, declared, find_task, label, read_task
from ehrdb.prediction.bootstrap import draw_patients
from ehrdb.prediction.survival import Follow, brier_losses, censoring, concordance, integrated, train_survival
from ehrdb.prediction.training import train
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write

SEPSIS: dict[str, Any] = {
    "task": "sepsis",
    "kind": "survival",
    "description": "When does sepsis begin after a high lactate?",
    "prediction_time": {"codes": ["LOINC/2524-7"]},
    "outcome": {"codes": ["SNOMED/91302008"]},
    "intervals": [3, 10],
}


def add(database: Database, folder: Path, **changes: Any) -> None:
    (folder / "task.yaml").write_text(yaml.safe_dump({**SEPSIS, **changes}))
    with database.transaction() as connection:
        add_task(connection, read_task(folder / "task.yaml"), replace=True)


def labels_of(database: Database, folder: Path, **changes: Any) -> list[tuple[int, int]]:
    add(database, folder, **changes)
    label(database, ["sepsis"])
    with database.transaction() as connection:
        return connection.execute("select patient_id, value from ehr.label order by 1").fetchall()


def test_labels_are_begun_days_to_the_outcome_or_whole_days_without(database: Database, tmp_path: Path) -> None:
    after = {
        1: (timedelta(minutes=1), "SNOMED/91302008"),
        2: (timedelta(days=1), "SNOMED/91302008"),
        3: (timedelta(days=1, minutes=1), "SNOMED/91302008"),
        4: (timedelta(days=10), "SNOMED/91302008"),
        5: (timedelta(days=10, minutes=1), "SNOMED/91302008"),
        6: (timedelta(days=2, hours=23), "SNOMED/1"),
        7: (timedelta(hours=23), "SNOMED/1"),
        8: (timedelta(days=40), "SNOMED/1"),
        9: (timedelta(days=40), "SNOMED/1"),
    }
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), "LOINC/2524-7", 3.0) for p in after])
        write(connection, [Record(p, day(1) + passed, code) for p, (passed, code) in after.items()])
        connection.execute("update ehrdb.patient set death_time = %s where patient_id = 9", [day(6)])
    found = labels_of(database, tmp_path)
    # 5 has the outcome after the last interval; 7 is not followed for a day; 9 dies.
    assert found == [(1, 1), (2, 1), (3, 2), (4, 10), (5, -10), (6, -2), (8, -10), (9, -5)]


def test_an_interval_is_judged_by_those_who_reach_it_and_whose_fate_in_it_is_known() -> None:
    follow = Follow.of(np.array([1, 3, 4, -2, -3, -5, -10, 10]))
    rows, cases = follow.within(0, 3)
    assert (rows.tolist(), cases.tolist()) == ([0, 1, 2, 4, 5, 6, 7], [1, 1, 0, 0, 0, 0, 0])
    rows, cases = follow.within(3, 10)
    assert (rows.tolist(), cases.tolist()) == ([2, 6, 7], [1, 0, 1])


followed = st.lists(st.integers(-30, 30).filter(bool), min_size=12, max_size=40)


@settings(max_examples=200, deadline=None)
@given(followed, st.integers(0, 10_000))
def test_scores_are_those_of_scikit_survival(labels: list[int], seed: int) -> None:
    values = np.array([*labels, 31, -31, 1, -1])  # so that every end lies within what is followed
    follow, random = Follow.of(values), np.random.default_rng(seed)
    ends = np.array([5.0, 12.0, 20.0, 28.0])
    free = np.cumprod(random.choice([0.5, 0.7, 0.9, 0.95], (len(values), 4)), axis=1)
    known = Surv.from_arrays(follow.happened, follow.days)
    once = draw_patients(np.arange(len(values)), 1)
    expected = concordance_index_censored(follow.happened, follow.days, 1 - free[:, -1], tied_tol=0)[0]
    assert concordance(1 - free[:, -1], follow, once)[0] == pytest.approx(expected, abs=1e-12)
    losses = brier_losses(free, ends, follow, censoring(follow))
    assert losses.mean(axis=0) == pytest.approx(brier_score(known, known, free, ends)[1], abs=1e-9)
    expected = integrated_brier_score(known, known, free, ends)
    assert integrated(losses, ends, once)[0] == pytest.approx(expected, abs=1e-9)


def test_a_replicate_weighs_a_patients_rows_by_how_often_it_is_drawn() -> None:
    random = np.random.default_rng(1)
    values, patients = random.choice([-9, -5, -2, 1, 3, 7], 60), random.integers(0, 20, 60)
    risk, drawing = random.random(60), draw_patients(patients, 5)
    found = concordance(risk, Follow.of(values), drawing)
    for place in range(1, 6):
        rows = np.repeat(np.arange(60), drawing.counts[drawing.patient, place].astype(int))
        follow = Follow.of(values[rows])
        assert found[place] == pytest.approx(concordance_index_censored(follow.happened, follow.days, risk[rows])[0])


def make(encoder: RegisteredEncoder) -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def encoder(database: Database, tmp_path: Path) -> RegisteredEncoder:
    """200 patients, of whom a third have the outcome on the second day and a third on the sixth."""
    with database.transaction() as connection:
        for patient in range(1, 201):
            outcome = [Record(patient, day(4 * (patient % 3) - 2, 7), "SNOMED/91302008")] if patient % 3 else []
            trigger = [Record(patient, day(1), "LOINC/2524-7", float(patient % 11))]
            write(connection, [*trigger, *outcome, Record(patient, day(28), "SNOMED/1")])
        found = add_encoder(connection)
    add(database, tmp_path)
    return found


@pytest.mark.parametrize("with_counts", [False, True])
def test_sql_multiplies_what_is_left_by_each_hazard(
    database: Database, encoder: RegisteredEncoder, with_counts: bool
) -> None:
    result = train_survival(database, encoder, make, "sepsis", with_counts=with_counts)
    assert result.has_counts == with_counts
    assert (result.intervals, sum(result.labels.values()), sum(result.positives.values())) == ([3, 10], 200, 134)
    assert {name: score is not None for name, score in result.test.items()} == {
        "c_index": True,
        "integrated_brier": True,
    }
    with database.transaction() as connection:
        rows = connection.execute("select patient_id, days, survival, is_stale from ehr.survival('sepsis')").fetchall()
        base = connection.execute("select days, base_survival from ehr.survival('sepsis', array[1])").fetchall()
        hazards = {
            (patient, task): probability
            for task, patient, probability in connection.execute(
                "select task, patient_id, probability from ehr.predict_cohort(array['sepsis_day_3', 'sepsis_day_10'])"
            )
        }
    # Each third has the outcome in the first interval, in the second, or not at all.
    assert base == [(3, pytest.approx(133 / 200)), (10, pytest.approx(66 / 200))]
    assert len(rows) == 400
    for patient, days, survival, is_stale in rows:
        left = 1 - hazards[patient, "sepsis_day_3"]
        left *= 1 if days == 3 else 1 - hazards[patient, "sepsis_day_10"]
        assert survival == pytest.approx(left, rel=1e-12)
        assert not is_stale


def test_an_interval_without_outcomes_is_told(database: Database, encoder: RegisteredEncoder, tmp_path: Path) -> None:
    add(database, tmp_path, intervals=[3, 4, 10])
    with pytest.raises(TrainingError, match=r"days 4 to 4: labels of one class only \(0 of \d+ train"):
        train_survival(database, encoder, make, "sepsis")


def test_what_asks_when_is_not_trained_or_evaluated_as_whether(database: Database, encoder: RegisteredEncoder) -> None:
    with pytest.raises(TrainingError, match="asks when"):
        train(database, encoder, make, "sepsis")
    with pytest.raises(ConfigError, match="asks when"):
        answer(asked(database, ["sepsis"]), [-1])
    with pytest.raises(ConfigError, match="asks when, the others whether"):
        asked(database, ["sepsis", "guo_los"])


def asked(database: Database, tasks: list[str], *baselines: str) -> Question:
    return prepare(database, make, tasks, [None], set(baselines))


def test_evaluation_gives_the_scores_of_the_heads_that_are_trained(
    database: Database, encoder: RegisteredEncoder
) -> None:
    with database.transaction() as connection:  # women have the outcome early
        connection.execute("update ehrdb.patient set sex = case when patient_id % 3 = 1 then 'F' else 'M' end")
    trained = train_survival(database, encoder, make, "sepsis", calibrate=False)
    own, demographics, alike = answer_timed(asked(database, ["sepsis"], "demographics"))
    assert {"c_index": own.c_index, "integrated_brier": own.integrated_brier} == trained.test
    assert (own.model, own.c_difference) == ("fake", None)
    assert (demographics.model, demographics.intervals) == ("demographics only", [3, 10])
    assert demographics.c_index is not None
    assert demographics.c_difference is not None
    assert own.c_index is not None
    assert demographics.c_difference.score == pytest.approx(own.c_index.score - demographics.c_index.score)
    assert demographics.c_index.score > 0.7
    assert alike.c_index is not None
    assert (alike.model, alike.c_index.score) == (ALIKE, 0.5)


def test_everybody_alike_is_the_estimate_of_kaplan_and_meier(database: Database, encoder: RegisteredEncoder) -> None:
    alike = answer_timed(asked(database, ["sepsis"]))[-1]
    with database.transaction() as connection:
        rows = connection.execute(
            "select l.value, coalesce(p.split, ehrdb.split_of(p.patient_id)) from ehr.label l"
            "  join ehrdb.patient p using (patient_id) order by l.patient_id"
        ).fetchall()
    learned, tested = (Follow.of(np.array([v for v, split in rows if split == name])) for name in ("train", "test"))
    times, free = kaplan_meier_estimator(learned.happened, learned.days)
    at = [free[times <= end][-1] for end in (3, 10)]
    known, asked_about = (Surv.from_arrays(follow.happened, follow.days) for follow in (learned, tested))
    losses = brier_score(known, asked_about, np.tile(at, (len(tested.days), 1)), np.array([3.0, 9.9]))[1]
    assert alike.integrated_brier is not None
    assert alike.integrated_brier.score == pytest.approx(np.mean(losses), abs=0.01)


def test_the_command_evaluates_tasks_that_ask_when(
    database: Database, encoder: RegisteredEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EHRDB_DATABASE_URL", database.url)
    monkeypatch.setattr("ehrdb.client.load_encoder", lambda settings, encoder: FakeEncoder())
    found = CliRunner().invoke(app, ["evaluate", "sepsis", "--json"])
    assert [run["model"] for run in json.loads(found.stdout)] == ["fake", ALIKE]
    refused = CliRunner().invoke(app, ["evaluate", "sepsis", "--k", "8"])
    assert refused.exit_code != 0
    assert "asks when" in str(refused.exception)


def test_survival_of_a_task_without_such_heads_is_an_error(database: Database, encoder: RegisteredEncoder) -> None:
    label(database, ["sepsis"])
    for task, state in (("sepsis", "EH006"), ("nothing", "EH005")):
        with pytest.raises(psycopg.Error) as caught, database.transaction() as connection:
            connection.execute("select * from ehr.survival(%s)", [task])
        assert caught.value.sqlstate == state


def test_intervals_ascend_and_a_task_that_is_shown_can_be_added_again(database: Database, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="intervals: their ends ascend"):
        add(database, tmp_path, intervals=[10, 3])
    with database.transaction() as connection:
        write(connection, [Record(1, day(1), "LOINC/2524-7")])
    add(database, tmp_path, min_age=18)
    first = read_task(tmp_path / "task.yaml")
    with database.transaction() as connection:
        (tmp_path / "task.yaml").write_text(yaml.safe_dump(declared(find_task(connection, "sepsis"))))
    assert read_task(tmp_path / "task.yaml") == first
