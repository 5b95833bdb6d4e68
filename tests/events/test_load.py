"""Loads, whatever the source: repeated, killed, changed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehrdb.database import Connection, Database
from ehrdb.events import export_meds, load_ehrshot, load_meds
from ehrdb.events.purge import purge

HEADER = "patient_id,start,end,code,value,unit,visit_id,omop_table\n"
ROWS = [
    "1,1950-01-01 00:00:00,,SNOMED/3950001,,,,person",
    "1,2020-03-31 08:15:00,,LOINC/718-7,12.5,g/dL,7,measurement",
    "2,1960-02-29 00:00:00,,SNOMED/3950001,,,,person",
    "2,2020-12-30 23:59:00,,LOINC/718-7,inf,g/dL,,measurement",
]


def write(folder: Path, rows: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "ehrshot.csv").write_text(HEADER + "\n".join(rows) + "\n")
    (folder / "concept.csv").write_text("code,description\nSNOMED/3950001,Birth\nLOINC/718-7,Hemoglobin\n")
    return folder


def events(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute("select * from ehr.event order by patient_id, ordinal").fetchall()


def stored(database: Database) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return events(connection)


def changed_patients(database: Database) -> list[tuple[int]]:
    with database.transaction() as connection:
        return connection.execute("select distinct patient_id from ehrdb.changed_patient order by 1").fetchall()


def clear_changes(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("delete from ehrdb.changed_patient")


def test_the_same_files_again_mark_nobody_and_report_the_same(database: Database, tmp_path: Path) -> None:
    first = load_ehrshot(database, write(tmp_path / "source", ROWS))
    clear_changes(database)
    again = load_ehrshot(database, tmp_path / "source")
    assert (again.new, again.changed, again.unchanged, again.removed) == (0, 0, 2, 0)
    assert again.tables == first.tables
    assert changed_patients(database) == []


def test_a_changed_row_rewrites_its_patient_alone(database: Database, tmp_path: Path) -> None:
    load_ehrshot(database, write(tmp_path / "source", ROWS))
    clear_changes(database)
    result = load_ehrshot(database, write(tmp_path / "source", [*ROWS, "2,2021-01-01,,SNOMED/1,,,,observation"]))
    assert (result.changed, result.unchanged) == (1, 1)
    assert changed_patients(database) == [(2,)]


def test_a_purged_patient_returns_with_the_same_files(database: Database, tmp_path: Path) -> None:
    load_ehrshot(database, write(tmp_path / "source", ROWS))
    before = stored(database)
    purge(database, [1])
    assert load_ehrshot(database, tmp_path / "source").new == 1
    assert stored(database) == before


def test_a_care_site_made_intensive_reads_the_same_files_again(database: Database, tmp_path: Path) -> None:
    rows = [*ROWS, "1,2020-04-01,,CARE_SITE/1,,,8,visit_detail"]
    load_ehrshot(database, write(tmp_path / "source", rows))
    with database.transaction() as connection:
        connection.execute("insert into ehrdb.icu_care_site values ('CARE_SITE/1')")
    assert load_ehrshot(database, tmp_path / "source").changed == 1


def test_the_first_load_leaves_the_indexes_as_they_were(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        before = index_definitions(connection)
    load_ehrshot(database, write(tmp_path / "source", ROWS))
    with database.transaction() as connection:
        assert index_definitions(connection) == before


def index_definitions(connection: Connection) -> list[tuple[str]]:
    return connection.execute(
        "select indexdef from pg_indexes where schemaname = 'ehrdb' and tablename = 'event' order by 1"
    ).fetchall()


def test_a_killed_load_leaves_the_previous_state(database: Database, tmp_path: Path) -> None:
    load_ehrshot(database, write(tmp_path / "source", ROWS))
    before = stored(database)
    more = [f"{p},2020-01-01,,SNOMED/{n},,,,observation" for p in range(3, 203) for n in range(500)]
    write(tmp_path / "source", [*ROWS, *more])
    for seconds in (0, 0.3, 0.6):
        kill_a_load(database, tmp_path / "source", seconds)
        assert stored(database) == before
    assert load_ehrshot(database, tmp_path / "source").new == 200


def kill_a_load(database: Database, folder: Path, seconds: float) -> None:
    """Kill -9 so long after the load began to write, and wait until the server has noticed."""
    command = [sys.executable, "-m", "ehrdb", "load", "ehrshot", str(folder)]
    process = subprocess.Popen(command, env={"EHRDB_DATABASE_URL": database.url}, stderr=subprocess.DEVNULL)
    while not is_writing(database):
        assert process.poll() is None
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    while is_writing(database):
        time.sleep(0.05)


def is_writing(database: Database) -> bool:
    """Whether another session of this database has an open transaction that writes."""
    with database.transaction() as connection:
        row = connection.execute(
            "select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            " and backend_type = 'client backend' and backend_xid is not null"
        ).fetchone()
    return row is not None


moments = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)) | st.none()
rows = st.lists(
    st.fixed_dictionaries(
        {
            "subject_id": st.sampled_from([1, -5, 2**53 + 1, 2**63 - 1]),
            "time": moments.map(lambda t: t and t - timedelta(microseconds=t.microsecond % 1000)),
            "code": st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1),
            "numeric_value": st.none() | st.floats(width=32, allow_nan=False),
            "text_value": st.none() | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
            "ward": st.none() | st.integers(-(2**31), 2**31),
        }
    ),
    min_size=1,
    max_size=30,
)
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "subject_id": pl.Int64,
    "time": pl.Datetime("us"),
    "code": pl.String,
    "numeric_value": pl.Float32,
    "text_value": pl.String,
    "ward": pl.Int64,
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows)
def test_meds_out_is_meds_in(
    database: Database, tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    folder = tmp_path_factory.mktemp("meds")
    (folder / "data").mkdir()
    given_frame = pl.DataFrame(rows, SCHEMA)
    given_frame.write_parquet(folder / "data" / "0.parquet")
    load_meds(database, folder)
    export_meds(database, folder / "out")
    found = pl.read_parquet(folder / "out" / "data" / "0.parquet")
    if "ward" not in found.columns:
        found = found.with_columns(ward=pl.lit(None, pl.Int64))
    # Within a second the source's order counts, so events are compared without their order, and as values:
    # a load over one that differs in the sign of a zero alone changes nothing.
    assert Counter(found.select(list(SCHEMA)).rows()) == Counter(given_frame.rows())
