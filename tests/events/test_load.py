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
from ehrdb.errors import DatabaseError, InputError
from ehrdb.events import EhrshotOptions, load_ehrshot
from ehrdb.events.meds import export_meds, load_meds
from ehrdb.events.merge import load, rehearsal
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


def test_what_a_first_load_brought_is_counted_at_once(database: Database, tmp_path: Path) -> None:
    load_ehrshot(database, write(tmp_path / "source", ROWS))
    with database.transaction() as connection:
        assert connection.execute("select patients, events from ehrdb.loaded_source").fetchone() == (2, len(ROWS))


def test_a_changed_row_rewrites_its_patient_alone(database: Database, tmp_path: Path) -> None:
    load_ehrshot(database, write(tmp_path / "source", ROWS))
    clear_changes(database)
    result = load_ehrshot(database, write(tmp_path / "source", [*ROWS, "2,2021-01-01,,SNOMED/1,,,,observation"]))
    assert (result.changed, result.unchanged) == (1, 1)
    assert changed_patients(database) == [(2,)]


def test_a_second_load_of_one_source_says_at_once_who_is_at_it(database: Database, tmp_path: Path) -> None:
    folder = write(tmp_path / "source", ROWS)
    with database.transaction() as first:
        first.execute("insert into ehrdb.turn values ('load ehrshot')")
        first.execute("commit")
        first.execute("select from ehrdb.turn where what = 'load ehrshot' for update")
        with pytest.raises(DatabaseError, match=f"is being loaded already by .*, process {first.info.backend_pid}"):
            load_ehrshot(database, folder)
        assert load_ehrshot(database, folder, source="another").new == 2
    with pytest.raises(InputError, match="already belongs to source 'another'"):
        load_ehrshot(database, folder)


def test_a_load_or_check_beside_a_check_is_told_who_is_at_it(database: Database, tmp_path: Path) -> None:
    folder = write(tmp_path / "source", ROWS)
    seen: list[object] = []

    def look(connection: Connection) -> None:
        who = f"is being loaded already by .*, process {connection.info.backend_pid}"
        for run in (load, rehearsal(seen.append)):
            with pytest.raises(DatabaseError, match=who):
                load_ehrshot(database, folder, run=run)
        seen.extend(connection.execute("select current_setting('lock_timeout')").fetchone() or ())

    with database.transaction() as other:
        usual = other.execute("select current_setting('lock_timeout')").fetchone()
    load_ehrshot(database, folder, run=rehearsal(look))
    assert tuple(seen) == usual
    assert load_ehrshot(database, folder).new == 2


def test_a_changed_description_marks_who_has_the_code(database: Database, tmp_path: Path) -> None:
    folder = write(tmp_path / "source", [*ROWS, "2,2021-01-01,,SNOMED/1,,,,observation"])
    for description in ("Hypertension", "High blood pressure"):
        clear_changes(database)
        (folder / "concept.csv").write_text(f"code,description\nSNOMED/3950001,Birth\nSNOMED/1,{description}\n")
        load_ehrshot(database, folder)
    assert changed_patients(database) == [(2,)]


def test_a_patient_of_another_source_is_refused_and_kept_as_it_was(database: Database, tmp_path: Path) -> None:
    load_ehrshot(database, write(tmp_path / "source", ROWS), source="first")
    before = stored(database)
    other = write(tmp_path / "other", [ROWS[0], "3,2020-01-01,,SNOMED/1,,,,observation"])
    with pytest.raises(InputError, match="patient 1 already belongs to source 'first'"):
        load_ehrshot(database, other, source="second")
    assert stored(database) == before


def test_changed_demographics_alone_are_a_change(database: Database, tmp_path: Path) -> None:
    events = {"subject_id": [1, 2], "time": [datetime(2020, 1, 1)] * 2, "code": ["A//1", "A//1"]}
    for place in ("data", "metadata"):
        (tmp_path / place).mkdir()
    pl.DataFrame(events).cast({"time": pl.Datetime("us")}).write_parquet(tmp_path / "data" / "0.parquet")
    for split in ("train", "held_out"):
        splits = pl.DataFrame({"subject_id": [1, 2], "split": ["train", split]})
        splits.write_parquet(tmp_path / "metadata" / "subject_splits.parquet")
        result = load_meds(database, tmp_path)
    assert (result.changed, result.unchanged) == (1, 1)
    with database.transaction() as connection:
        assert connection.execute("select split from ehr.patient order by patient_id").fetchall() == [
            ("train",),
            ("test",),
        ]


def test_a_purged_patient_returns_only_when_let(database: Database, tmp_path: Path) -> None:
    load_ehrshot(database, write(tmp_path / "source", ROWS))
    before = stored(database)
    purge(database, [1])
    result = load_ehrshot(database, tmp_path / "source")
    assert (result.new, result.unchanged, result.left_out) == (0, 1, 1)
    assert not load_ehrshot(database, tmp_path / "source").anything_changed
    assert load_ehrshot(database, tmp_path / "source", EhrshotOptions(allow_return=True)).new == 1
    assert stored(database) == before
    assert load_ehrshot(database, tmp_path / "source").left_out == 0


def test_a_purge_keeps_no_id(database: Database, tmp_path: Path) -> None:
    load_ehrshot(database, write(tmp_path / "source", ROWS))
    purge(database, [1])
    with database.transaction() as connection:
        kept = connection.execute("select patient_hash from ehrdb.purged_patient").fetchone()
        assert kept is not None
        assert connection.execute("select sha256(int8send(1)) = %s", kept).fetchone() == (False,)


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


# --- what left the files leaves ---------------------------------------------------------------------------------------


def parents(database: Database) -> list[tuple[str, list[str]]]:
    with database.transaction() as connection:
        return connection.execute("select code, parents from ehr.concept where parents <> '{}' order by 1").fetchall()


def test_relations_are_those_of_the_last_load_and_mark_all_below(database: Database, tmp_path: Path) -> None:
    folder = write(tmp_path / "source", ROWS)
    (folder / "concept_parent.csv").write_text("child_code,parent_code\nLOINC/718-7,X/1\nX/1,X/2\n")
    load_ehrshot(database, folder)
    clear_changes(database)
    (folder / "concept_parent.csv").write_text("child_code,parent_code\nLOINC/718-7,X/1\nX/1,X/3\n")
    result = load_ehrshot(database, folder)
    assert parents(database) == [("LOINC/718-7", ["X/1"]), ("X/1", ["X/3"])]
    assert (result.changed, result.concepts, result.affected) == (0, 1, 2)
    assert changed_patients(database) == [(1,), (2,)]


def test_relations_of_another_source_stay(database: Database, tmp_path: Path) -> None:
    for number, source in enumerate(("a", "b")):
        folder = write(tmp_path / source, [row.replace(row[0], str(int(row[0]) + 10 * number), 1) for row in ROWS])
        (folder / "concept_parent.csv").write_text(f"child_code,parent_code\nLOINC/718-7,X/0\nLOINC/718-7,{source}/1\n")
        load_ehrshot(database, folder, source=source)
    (tmp_path / "a" / "concept_parent.csv").write_text("child_code,parent_code\n")
    load_ehrshot(database, tmp_path / "a", source="a")
    assert parents(database) == [("LOINC/718-7", ["X/0", "b/1"])]


def test_texts_that_left_the_files_leave(database: Database, tmp_path: Path) -> None:
    folder = write(tmp_path / "source", ROWS)
    (folder / "custom_codes.csv").write_text("vocabulary,code,description\nLOINC,718-7,Hb\n")
    load_ehrshot(database, folder)
    clear_changes(database)
    (folder / "custom_codes.csv").write_text("vocabulary,code,description\n")
    (folder / "concept.csv").write_text("code,description\nSNOMED/3950001,Birth\n")
    assert load_ehrshot(database, folder).anything_changed
    with database.transaction() as connection:
        assert connection.execute("select count(*) from ehrdb.custom_text").fetchone() == (0,)
        row = connection.execute("select description from ehr.concept where code = 'LOINC/718-7'").fetchone()
        assert row == (None,)
    assert changed_patients(database) == [(1,), (2,)]


def test_radiology_findings_are_those_of_the_last_load(database: Database, tmp_path: Path) -> None:
    findings = ["no finding", "enlarged cardiomediastinum", "cardiomegaly", "lung lesion", "lung opacity", "edema"]
    findings += ["consolidation", "pneumonia", "atelectasis", "pneumothorax", "pleural effusion", "pleural other"]
    findings += ["fracture", "support devices"]
    header = "patient_id\tstart\t" + "\t".join(findings) + "\n"
    rows = [f"{patient}\t2020-01-0{patient} 10:00:00\t1" + "\t0" * 13 + "\n" for patient in (1, 2)]
    folder = write(tmp_path / "source", ROWS)
    (folder / "chexpert.tsv").write_text(header + rows[0] + rows[1])
    load_ehrshot(database, folder)
    clear_changes(database)
    (folder / "chexpert.tsv").write_text(header + rows[0])
    result = load_ehrshot(database, folder)
    assert (result.changed, result.affected, result.anything_changed) == (0, 1, True)
    assert changed_patients(database) == [(2,)]
    with database.transaction() as connection:
        assert connection.execute("select patient_id from ehrdb.radiology_report").fetchall() == [(1,)]


@pytest.mark.parametrize("gone", ["concept_parent", "chexpert"])
def test_a_table_of_the_last_load_that_is_gone_is_an_error_unless_allowed(
    database: Database, tmp_path: Path, gone: str
) -> None:
    folder = write(tmp_path / "source", ROWS)
    (folder / "concept_parent.csv").write_text("child_code,parent_code\nLOINC/718-7,X/1\n")
    (folder / "chexpert.tsv").write_text("patient_id\tstart\tno finding\n1\t2020-01-01\t1\n")
    load_ehrshot(database, folder)
    next(folder.glob(f"{gone}.*")).unlink()
    with pytest.raises(InputError, match=f"the last load of ehrshot had {gone}; this one has not") as caught:
        load_ehrshot(database, folder)
    assert f"--allow-missing {gone}" in str(caught.value.hint)
    load_ehrshot(database, folder, EhrshotOptions(allow_missing=(gone,)))
    load_ehrshot(database, folder)
