"""Heads from few labels are refused by name, unless that is accepted and then recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ehrdb.cli import app
from ehrdb.database import Database
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.errors import TrainingError
from ehrdb.prediction import add_task, read_task
from ehrdb.prediction.enough import Supply, require_enough
from ehrdb.prediction.survival import train_survival
from ehrdb.prediction.training import train
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write

SPLITS = {"train": range(1, 61), "val": range(61, 91), "test": range(91, 121)}


def make(encoder: RegisteredEncoder) -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def encoder(database: Database) -> RegisteredEncoder:
    """60 patients to train on, 30 to validate, 30 to test."""
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), f"SNOMED/{p % 7}") for p in range(1, 121)])
        for split, patients in SPLITS.items():
            connection.execute(
                "update ehrdb.patient set split = %s where patient_id = any (%s)", [split, list(patients)]
            )
        connection.execute("insert into ehrdb.task values ('odd', 'test', 'binary', '', '{\"shape\": \"imported\"}')")
        return add_encoder(connection)


def label(database: Database, **positives: int) -> None:
    """The first so many of each split are positive; all of `test` are alternately."""
    with database.transaction() as connection:
        for split, patients in SPLITS.items():
            some = patients[: positives[split]] if split in positives else patients[::2]
            connection.execute(
                "insert into ehrdb.label select 'odd', p, %s, (p = any (%s))::integer from unnest(%s::bigint[]) p",
                [day(1), list(some), list(patients)],
            )


@pytest.mark.parametrize(
    ("train_positives", "val_positives", "told"),
    [
        (9, 5, "9 of 60 train labels positive"),
        (51, 5, "51 of 60 train labels positive"),
        (10, 4, "4 of 30 val labels positive"),
        (10, 26, "26 of 30 val labels positive"),
    ],
)
def test_few_labels_of_a_class_are_refused_by_name(
    database: Database, encoder: RegisteredEncoder, train_positives: int, val_positives: int, told: str
) -> None:
    label(database, train=train_positives, val=val_positives)
    with pytest.raises(TrainingError, match=rf"task odd \({told}\)") as caught:
        train(database, encoder, make, "odd")
    assert "--accept-few" in str(caught.value.hint)
    with database.transaction() as connection:
        assert connection.execute("select count(*) from ehr.head").fetchone() == (0,)


@pytest.mark.parametrize(("positives", "is_from_few"), [((10, 5), False), ((9, 5), True)])
def test_who_accepts_few_gets_a_head_that_says_so(
    database: Database, encoder: RegisteredEncoder, positives: tuple[int, int], is_from_few: bool
) -> None:
    label(database, train=positives[0], val=positives[1])
    (result,) = train(database, encoder, make, "odd", accept_few=True)
    with database.transaction() as connection:
        row = connection.execute("select ehr.model_card('odd')").fetchone()
    assert row is not None
    assert (result.is_from_few, row[0]["is_from_few"]) == (is_from_few, is_from_few)


def test_one_class_is_refused_even_from_who_accepts_few() -> None:
    supply = Supply("task odd", {"train": 60, "val": 30}, {"train": 20, "val": 0})
    with pytest.raises(TrainingError, match=r"task odd: labels of one class only \(0 of 30 val labels positive\)"):
        require_enough([supply], accept_few=True)


def test_every_head_with_few_labels_is_named() -> None:
    few = Supply("task a", {"train": 60, "val": 30}, {"train": 9, "val": 4})
    enough = Supply("task b", {"train": 60, "val": 30}, {"train": 10, "val": 5})
    other = Supply("task c", {"train": 60, "val": 30}, {"train": 30, "val": 29})
    with pytest.raises(TrainingError) as caught:
        require_enough([few, enough, other], accept_few=False)
    assert "task a (9 of 60 train labels positive, 4 of 30 val labels positive); task c (29 of 30" in str(caught.value)
    assert "task b" not in str(caught.value)


def test_an_interval_with_few_outcomes_is_refused_by_its_days(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        for patient in range(1, 121):
            outcome = [Record(patient, day(2 + 4 * (patient % 12 == 1)), "SNOMED/9")] if patient % 3 else []
            write(connection, [Record(patient, day(1), "LOINC/1"), *outcome, Record(patient, day(28), "SNOMED/1")])
        encoder = add_encoder(connection)
        (tmp_path / "task.yaml").write_text(yaml.safe_dump(DISEASE))
        add_task(connection, read_task(tmp_path / "task.yaml"))
    with pytest.raises(TrainingError, match="too few labels of a class: task disease, outcome in days 4 to 10"):
        train_survival(database, encoder, make, "disease")
    assert train_survival(database, encoder, make, "disease", accept_few=True).is_from_few


DISEASE = {
    "task": "disease",
    "kind": "survival",
    "description": "When does it begin?",
    "prediction_time": {"codes": ["LOINC/1"]},
    "outcome": {"codes": ["SNOMED/9"]},
    "intervals": [3, 10],
}


def run(database: Database, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    """What the command line answers, with an encoder that needs no files."""
    monkeypatch.setenv("EHRDB_DATABASE_URL", database.url)
    monkeypatch.setattr("ehrdb.cli.train.load_encoder", lambda settings, encoder: FakeEncoder())
    found = CliRunner().invoke(app, ["train", "odd", *arguments])
    return found.exit_code, found.stdout, found.stderr


def test_the_command_refuses_few_labels_until_they_are_accepted(
    database: Database, encoder: RegisteredEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(database, train=9, val=5)
    assert run(database, monkeypatch)[0] != 0
    status, _, told = run(database, monkeypatch, "--accept-few")
    assert (status, "do not rely on them: odd" in told) == (0, True)


@pytest.mark.parametrize(("arguments", "is_calibrated"), [((), True), (("--raw",), False)])
def test_the_command_calibrates_unless_raw_heads_are_asked_for(
    database: Database,
    encoder: RegisteredEncoder,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    is_calibrated: bool,
) -> None:
    label(database, train=20, val=10)
    status, told, _ = run(database, monkeypatch, *arguments, "--json")
    assert (status, json.loads(told)[0]["is_calibrated"]) == (0, is_calibrated)
    with database.transaction() as connection:
        found = connection.execute("select calibration_slope = 1 and calibration_shift = 0 from ehrdb.head").fetchone()
    assert found == (not is_calibrated,)
