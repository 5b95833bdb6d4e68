"""Labels equal those of FEMR's own labelers."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import datetime

import pytest

from ehrdb.database import Database
from ehrdb.events import load_ehrshot
from ehrdb.prediction import benchmark_tasks, label
from tests.conftest import shared

Label = tuple[int, datetime, int]


@pytest.fixture(scope="module")
def expected() -> dict[str, Counter[Label]]:
    folder = shared("oracle/labels/public/expected")
    found = {}
    for task in benchmark_tasks():
        with (folder / f"{task}.csv").open() as lines:
            found[task] = Counter(
                (int(row["patient_id"]), datetime.fromisoformat(row["prediction_time"]), int(row["value"]))
                for row in csv.DictReader(lines)
            )
    return found


def test_every_label_of_all_tasks_equals_the_references(
    database: Database, expected: dict[str, Counter[Label]]
) -> None:
    load_ehrshot(database, shared("oracle/labels/public"))
    label(database, list(benchmark_tasks()))
    with database.transaction() as connection:
        for task, wanted in expected.items():
            rows = connection.execute(
                "select patient_id, prediction_time, value from ehr.label where task = %s", [task]
            )
            got: Counter[Label] = Counter(rows.fetchall())
            assert (task, got - wanted, wanted - got) == (task, Counter(), Counter())
