"""A MEDS load reads files of which a subject may be otherwise than at the last load, and its result is that of all."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehrdb.database import Database
from ehrdb.events import LoadResult
from ehrdb.events.meds import MedsOptions, load_meds
from ehrdb.events.merge import Run, load
from ehrdb.events.portions import portioned
from tests.events.test_load_meds import ask, at, write
from tests.events.test_load_omop import events

RUNS = pytest.mark.parametrize("run", [load, portioned(2, 2)], ids=["whole", "portions"])
Rows = list[tuple[int, int, str]]
"""Subject, day, code."""


def shard(folder: Path, name: str, rows: Rows, **more: list[object]) -> None:
    columns: dict[str, list[object]] = {
        "subject_id": [row[0] for row in rows],
        "time": [at(row[1]) for row in rows],
        "code": [row[2] for row in rows],
    }
    write(folder, name, columns, **more)


def described(folder: Path, **descriptions: str) -> None:
    frame = pl.DataFrame({"code": list(descriptions), "description": list(descriptions.values())})
    frame.write_parquet(folder / "metadata" / "codes.parquet")


def splits(folder: Path, **of_subject: str) -> None:
    frame = pl.DataFrame({"subject_id": [int(name[1:]) for name in of_subject], "split": list(of_subject.values())})
    frame.write_parquet(folder / "metadata" / "subject_splits.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Subjects 1 and 2 in one file, 3 and 4 in another, 5 in both."""
    for name in ("data", "metadata"):
        (tmp_path / name).mkdir()
    shard(tmp_path, "0", [(1, 1, "A"), (2, 1, "B"), (5, 2, "A")])
    shard(tmp_path, "1", [(3, 1, "A"), (4, 1, "B"), (5, 2, "B")])
    described(tmp_path, A="one", B="other")
    return tmp_path


def again(database: Database, folder: Path, run: Run = load) -> LoadResult:
    """A load, after which reading everybody finds nothing to change."""
    result = load_meds(database, folder, run=run)
    assert not load_meds(database, folder, MedsOptions(read_all=True)).anything_changed
    return result


def rows_read(result: LoadResult) -> int:
    return sum(table.rows_read for table in result.tables if table.source_table == "data")


@RUNS
def test_of_files_of_which_one_changed_its_subjects_are_read_alone(database: Database, folder: Path, run: Run) -> None:
    load_meds(database, folder, run=run)
    shard(folder, "1", [(3, 1, "A"), (4, 2, "B"), (5, 2, "B")])
    result = again(database, folder, run)
    assert (result.changed, result.unchanged, result.unread, rows_read(result)) == (1, 4, 2, 4)


@RUNS
def test_who_came_and_who_went_with_a_file_are_noticed(database: Database, folder: Path, run: Run) -> None:
    load_meds(database, folder, run=run)
    (folder / "data" / "1.parquet").unlink()
    shard(folder, "2", [(6, 1, "A")])
    result = again(database, folder, run)
    assert (result.new, result.removed, result.changed, result.unread) == (1, 2, 1, 2)
    assert ask(database, "select array_agg(patient_id order by patient_id)::text from ehrdb.patient") == "{1,2,5,6}"


@RUNS
def test_another_description_is_taken_though_nobody_is_read(database: Database, folder: Path, run: Run) -> None:
    load_meds(database, folder, run=run)
    described(folder, A="first", B="other")
    result = again(database, folder, run)
    assert (result.unread, result.concepts, result.affected, rows_read(result)) == (5, 1, 3, 0)
    assert ask(database, "select description from ehr.concept where code = 'A'") == "first"


def test_another_split_is_that_of_its_subject_alone(database: Database, folder: Path) -> None:
    splits(folder, s1="train", s2="train", s3="held_out")
    load_meds(database, folder)
    splits(folder, s1="train", s2="tuning", s3="held_out")
    assert again(database, folder).unread == 4
    assert ask(database, "select split from ehrdb.patient where patient_id = 2") == "val"


def test_a_race_that_is_called_otherwise_is_read_of_everybody(database: Database, folder: Path) -> None:
    shard(folder, "0", [(1, 1, "Race/5")])
    described(folder, **{"Race/5": "White"})
    load_meds(database, folder)
    described(folder, **{"Race/5": "european"})
    assert again(database, folder).unread == 0
    assert ask(database, "select race from ehrdb.patient where patient_id = 1") == "european"


def test_the_first_file_that_names_visits_concerns_everybody(database: Database, folder: Path) -> None:
    shard(folder, "0", [(1, 1, "HOSPITAL_ADMISSION"), (1, 2, "A")])
    load_meds(database, folder)
    assert ask(database, "select count(visit_id) from ehrdb.event where patient_id = 1") == 2
    shard(folder, "1", [(3, 1, "A")], visit_id=["v"])
    assert again(database, folder).unread == 0
    assert ask(database, "select count(visit_id) from ehrdb.event where patient_id = 1") == 0


def test_the_first_file_that_says_which_events_are_visits_concerns_everybody(database: Database, folder: Path) -> None:
    shard(folder, "0", [(1, 1, "HOSPITAL_ADMISSION")])
    load_meds(database, folder)
    shard(folder, "1", [(3, 1, "A")], visit_class=["outpatient"])
    assert again(database, folder).unread == 0
    assert ask(database, "select count(*) from ehr.visit where patient_id = 1") == 0


def test_a_changed_file_is_read_as_one_of_those_that_say_which_events_are_visits(
    database: Database, folder: Path
) -> None:
    shard(folder, "1", [(3, 1, "A")], visit_class=["outpatient"])
    load_meds(database, folder)
    shard(folder, "0", [(1, 1, "HOSPITAL_ADMISSION")])
    assert again(database, folder).unread == 1
    assert ask(database, "select count(*) from ehr.visit where patient_id = 1") == 0


def test_other_settings_concern_everybody(database: Database, folder: Path) -> None:
    load_meds(database, folder)
    assert load_meds(database, folder, MedsOptions(admission="A")).unread == 0


some_rows = st.lists(
    st.tuples(st.integers(1, 6), st.integers(1, 9), st.sampled_from(["A", "B", "HOSPITAL_ADMISSION"])),
    min_size=1,
    max_size=8,
)
data_sets = st.dictionaries(st.sampled_from(["0", "1", "2"]), some_rows, min_size=1)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(data_sets, min_size=2, max_size=3))
def test_loads_one_after_another_leave_what_the_last_alone_would(
    database: Database, folder: Path, versions: list[dict[str, Rows]]
) -> None:
    for version in versions:
        for file in (folder / "data").iterdir():
            file.unlink()
        for name, rows in version.items():
            shard(folder, name, rows)
        load_meds(database, folder)
    left = events(database)
    load_meds(database, folder, MedsOptions(read_all=True))
    assert events(database) == left
