"""A study's first tables: patients by split, labels by task, events by category."""

from __future__ import annotations

import pytest

from ehrdb.database import Database
from ehrdb.errors import NotFound
from ehrdb.prediction.describe import describe
from tests.records import Record, day, write


@pytest.fixture
def labelled(database: Database) -> Database:
    """Four patients in two splits, of whom one woman has two visits and two labels."""
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), "SNOMED/1") for p in range(1, 5)])
        write(connection, [Record(1, day(d), "Visit/IP") for d in (2, 3)])
        write(connection, [Record(2, day(4), "LOINC/1", value=5.0), Record(2, day(4), "LOINC/2", text="high")])
        connection.execute(
            "update ehrdb.event set visit_class = 'inpatient' where code_id ="
            " (select code_id from ehrdb.concept where code = 'Visit/IP')"
        )
        connection.execute(
            "update ehrdb.patient set split = case when patient_id < 4 then 'train' else 'test' end,"
            " sex = case when patient_id = 1 then 'F' else 'M' end, birth_time = '1960-01-01'"
        )
        connection.execute(
            "insert into ehrdb.task (task, task_group, kind, description, declaration)"
            " values ('ill', 'site', 'binary', 'Ill?', '{\"shape\": \"imported\"}'),"
            " ('chexpert', 'chex', 'multilabel', 'X-ray', '{}') on conflict do nothing"
        )
        connection.execute(
            "insert into ehrdb.label (task, patient_id, prediction_time, value) values ('ill', 1, '2020-01-02', 1),"
            " ('ill', 1, '2020-01-03', 0), ('ill', 2, '2020-01-02', 0), ('ill', 4, '2020-01-02', 1),"
            " ('chexpert', 1, '2020-01-02', 8192), ('chexpert', 2, '2020-01-02', 1)"
        )
    return database


def test_patients_are_counted_by_split_and_together(labelled: Database) -> None:
    train, test, everybody = describe(labelled).patients
    assert [row["split"] for row in (train, test, everybody)] == ["train", "test", "all"]
    assert (train["patients"], train["women"], train["men"]) == (3, 1, 2)
    assert (train["fewest_events"], train["mean_events"], train["most_events"]) == (1, pytest.approx(7 / 3), 3)
    assert (everybody["mean_visits"], everybody["most_visits"]) == (0.5, 2)
    assert test["median_age"] == pytest.approx(60.0, abs=0.01)


def test_labels_are_counted_by_task_and_split_and_so_are_their_patients(labelled: Database) -> None:
    xray, train, test = describe(labelled).labels
    assert (train["task"], train["labels"], train["positive_labels"]) == ("ill", 3, 1)
    assert (train["patients"], train["positive_patients"], train["women"]) == (2, 1, 1)
    assert (test["split"], test["labels"]) == ("test", 1)
    # An X-ray without a finding has the bit that says so.
    assert (xray["labels"], xray["positive_labels"]) == (2, 1)
    assert [row["task"] for row in describe(labelled, ["ill"]).labels] == ["ill", "ill"]


def test_events_are_counted_by_category(labelled: Database) -> None:
    found = {row["category"]: row for row in describe(labelled).categories}
    assert sum(row["events"] for row in found.values()) == 8
    assert sum(row["numbers"] for row in found.values()) == 1
    assert sum(row["texts"] for row in found.values()) == 1
    assert found["conditions"]["patients"] == 4


def test_an_unknown_task_is_named(labelled: Database) -> None:
    with pytest.raises(NotFound, match="nothing_here"):
        describe(labelled, ["nothing_here"])
