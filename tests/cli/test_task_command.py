"""`ehrdb task add` in its three ways, and what labels and shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ehrdb.database import Database
from tests.cli.conftest import Here
from tests.records import Record, day, write

ACES = {
    "predicates": {"admission": "???", "death": {"code": {"regex": "^MEDS_DEATH"}}},
    "trigger": "admission",
    "windows": {
        "target": {
            "start": "trigger",
            "end": "start + 10 days",
            "start_inclusive": False,
            "end_inclusive": True,
            "label": "death",
            "index_timestamp": "start",
        }
    },
}


@pytest.fixture
def records(database: Database) -> Database:
    """Two patients who are admitted; the first dies, and is in a cohort of OMOP before another."""
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), "ADMISSION") for p in (1, 2)])
        write(connection, [Record(1, day(5), "MEDS_DEATH"), Record(2, day(28), "SNOMED/1")])
        connection.execute(
            "create schema results; create table results.cohort as select c as cohort_definition_id, 1 as subject_id,"
            " date '2020-01-01' + c as cohort_start_date, date '2020-01-01' + c as cohort_end_date"
            "  from generate_series(1, 2) c"
        )
    return database


def test_a_task_of_aces_with_predicates_of_another_file(records: Database, ehrdb: Here, tmp_path: Path) -> None:
    (tmp_path / "dies-soon.yaml").write_text(yaml.safe_dump(ACES))
    (tmp_path / "mimic.yaml").write_text(yaml.safe_dump({"predicates": {"admission": {"code": "ADMISSION"}}}))
    refused = ehrdb("task", "add", "--aces", "dies-soon.yaml")
    assert (refused.returncode, "predicate admission is '???'" in refused.stderr) == (2, True)
    added = ehrdb("task", "add", "--aces", "dies-soon.yaml", "--predicates", "mimic.yaml")
    assert (added.returncode, "task dies_soon added" in added.stderr) == (0, True)
    assert ehrdb("label", "dies_soon").stdout.split()[-3:] == ["2", "│", "1"]
    shown = yaml.safe_load(ehrdb("task", "show", "dies_soon").stdout)
    assert shown["predicates"]["admission"] == {"code": "ADMISSION"}


def test_a_task_between_cohorts_needs_no_file(records: Database, ehrdb: Here) -> None:
    added = ehrdb("task", "add", "--target", "1", "--outcome", "2", "--task", "soon")
    assert (added.returncode, "task soon added" in added.stderr) == (0, True)
    assert ehrdb("label", "soon").stdout.split()[-3:] == ["1", "│", "1"]
    assert yaml.safe_load(ehrdb("task", "show", "soon").stdout)["kind"] == "cohort"


@pytest.mark.parametrize(
    "words",
    [[], ["x.yaml", "--aces", "y.yaml"], ["--target", "1"], ["x.yaml", "--task", "x"], ["x.yaml", "--predicates", "p"]],
    ids=" ".join,
)
def test_ways_do_not_mix(ehrdb: Here, words: list[str]) -> None:
    result = ehrdb("task", "add", *words)
    assert (result.returncode, result.stderr.startswith("error: ")) == (2, True)
