"""Stays whose end is unknown, or not to be believed: an admission is a start."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from ehrdb.database import Database
from ehrdb.events import load_omop
from ehrdb.prediction import add_task, label, read_task
from tests.conftest import shared
from tests.events.test_odd_omop import cdm

FIRST = "1,1,9201,2020-02-01,2020-02-01 10:00:00,2020-02-10,2020-02-10 09:00:00"
LATER = "1,1,100,2020-05-01,,5,,,,,"
SECOND = {
    "complete": "2,1,9201,2020-02-20,2020-02-20 10:00:00,2020-02-25,2020-02-25 10:00:00",
    "open": "2,1,9201,2020-02-20,2020-02-20 10:00:00,,",
    "inverted": "2,1,9201,2020-02-20,2020-02-20 10:00:00,2020-02-19,2020-02-19 10:00:00",
    "start of a day": "2,1,9201,2020-02-20,,2020-02-20,2020-02-20 18:00:00",
    "a day": "2,1,9201,2020-02-20,,2020-02-20,",
}
BACK = """
task: back
description: Admitted again within 30 days of discharge?
prediction_time: {event: discharge}
outcome: {event: admission, days: 30}
"""


def labels(database: Database, task: str) -> list[tuple[int, datetime, int]]:
    label(database, [task])
    with database.transaction() as connection:
        return connection.execute(
            "select patient_id, prediction_time, value from ehr.label where task = %s order by 1, 2", [task]
        ).fetchall()


@pytest.mark.parametrize("second", list(SECOND))
def test_a_readmission_is_one_whatever_its_end(database: Database, tmp_path: Path, second: str) -> None:
    load_omop(database, cdm(tmp_path, visit_occurrence=f"{FIRST}\n{SECOND[second]}", measurement=LATER))
    assert labels(database, "guo_readmission")[0] == (1, datetime(2020, 2, 10, 23, 59), 1)
    (tmp_path / "back.yaml").write_text(BACK)
    with database.transaction() as connection:
        add_task(connection, read_task(tmp_path / "back.yaml"))
    assert labels(database, "back")[0] == (1, datetime(2020, 2, 10, 9), 1)


def test_a_stay_that_is_not_over_is_no_moment_of_discharge(database: Database, tmp_path: Path) -> None:
    load_omop(database, cdm(tmp_path, visit_occurrence=SECOND["open"], measurement=LATER))
    assert labels(database, "guo_readmission") == labels(database, "guo_los") == []


def test_shared_open_stays_are_readmissions(database: Database) -> None:
    folder = shared("cases/07-open-stay")
    load_omop(database, folder)
    with database.transaction() as connection:
        add_task(connection, read_task(folder / "back.yaml"))
    for task in ("guo_readmission", "back_in_hospital"):
        first = {patient: value for patient, _, value in reversed(labels(database, task))}
        assert first == {1: 1, 2: 1, 3: 1, 4: 0, 5: 1}
