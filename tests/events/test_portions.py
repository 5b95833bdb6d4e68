"""A load in portions: the same records, checked before anything is written, resumed where it was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from ehrdb.database import Connection, Database
from ehrdb.errors import ConfigError, InputError
from ehrdb.events import LoadResult, OmopOptions, load_ehrshot, load_omop, load_omop_schema
from ehrdb.events.meds import MedsByPatients, load_meds
from ehrdb.events.merge import Portion, TableReport
from ehrdb.events.omop import OmopByPatients
from ehrdb.events.portions import portioned
from ehrdb.events.purge import purge
from tests.conftest import wait_for
from tests.events.test_changes import change, tables_of_patients
from tests.events.test_load_omop import events, export, hospital, rows

__all__ = ["hospital"]
PATIENTS = 40
MORE = (
    "insert into cdm.person select n, 8507, 1940 + n, 1, 1, null, 0, 0 from generate_series(3, 40) n",
    "insert into cdm.visit_occurrence select 1000 + n, n, 9201, '2020-06-01', null, '2020-06-05', null"
    "  from generate_series(3, 40) n",
    "insert into cdm.condition_occurrence"
    " (condition_occurrence_id, person_id, condition_concept_id, condition_start_date)"
    " select 1000 + n, 1 + n % 40, 201826, date '2020-01-01' + n from generate_series(1, 400) n",
)


@pytest.fixture
def filled(hospital: Database) -> Database:
    """Forty patients in the schema, of whom none is loaded."""
    change(hospital, *MORE)
    return hospital


def load(database: Database, workers: int = 2, size: int = 7, options: OmopOptions | None = None) -> LoadResult:
    return load_omop_schema(database, "cdm", "vocab", options, run=portioned(workers, size))


def of_tables(result: LoadResult) -> dict[str, tuple[int, int, int, int, dict[str, int]]]:
    return {
        t.source_table: (t.rows_read, t.rows_loaded, t.rows_unmapped, t.rows_rejected, t.reasons)
        for t in [*result.tables, *result.figures]
    }


def shared(database: Database) -> list[tuple[Any, ...]]:
    return rows(
        database,
        "select c.code, c.concept_id, c.description, c.standard_concept, p.code"
        "  from ehrdb.concept c left join ehrdb.concept_parent r on r.child_id = c.code_id"
        "  left join ehrdb.concept p on p.code_id = r.parent_id order by 1, 5",
    )


def forget(database: Database) -> None:
    """As if nothing had ever been loaded."""
    change(
        database,
        "select ehrdb.purge_patients(array(select patient_id from ehrdb.patient))",
        "truncate ehrdb.concept_parent, ehrdb.source, ehrdb.load_report",
        "delete from ehrdb.concept",
        "delete from ehrdb.concept_frequency",
    )


def test_portions_are_what_one_transaction_is(filled: Database) -> None:
    whole = load_omop_schema(filled, "cdm", "vocab")
    loaded, described = events(filled), shared(filled)
    patients = "select patient_id, birth_time, death_time, sex, race, fingerprint from ehrdb.patient order by 1"
    known = rows(filled, patients)
    forget(filled)
    result = load(filled)
    assert (result.new, result.changed, result.unchanged) == (PATIENTS, 0, 0)
    assert events(filled) == loaded
    assert shared(filled) == described
    assert rows(filled, patients) == known
    assert of_tables(result) == of_tables(whole)
    assert not load_omop_schema(filled, "cdm", "vocab").anything_changed


def test_files_likewise(filled: Database, tmp_path: Path) -> None:
    load_omop_schema(filled, "cdm", "vocab")
    loaded, described = events(filled), shared(filled)
    forget(filled)
    folder = export(filled, tmp_path)
    assert load_omop(filled, folder, run=portioned(2, 9)).new == PATIENTS
    assert (events(filled), shared(filled)) == (loaded, described)
    again = load_omop(filled, folder, run=portioned(2, 9))
    assert (again.unchanged, again.anything_changed) == (PATIENTS, False)
    assert not load_omop(filled, folder, OmopOptions(read_all=True)).anything_changed


def test_only_portions_with_a_change_are_loaded_again(filled: Database) -> None:
    load(filled)
    change(filled, "update cdm.visit_occurrence set visit_end_date = '2020-06-09' where person_id = 20")
    result = load(filled)
    assert (result.changed, result.unchanged, result.unread) == (1, PATIENTS - 1, PATIENTS - 1)
    assert not load(filled, options=OmopOptions(read_all=True)).anything_changed


def test_who_came_and_who_went_are_noticed(filled: Database) -> None:
    load(filled)
    change(
        filled,
        "insert into cdm.person select 100, 8507, 1970, 1, 1, null, 0, 0",
        *map("delete from {} where person_id in (2, 40)".format, tables_of_patients(filled)),
    )
    result = load(filled)
    assert (result.new, result.removed, result.unchanged) == (1, 2, PATIENTS - 2)
    assert rows(filled, "select count(*) from ehrdb.patient") == [(PATIENTS - 1,)]


def test_another_vocabulary_concerns_everybody(filled: Database) -> None:
    load(filled)
    change(filled, "update vocab.concept set concept_code = 'another' where concept_id = 201826")
    result = load(filled)
    assert (result.unread, result.changed > 0) == (0, True)
    assert "SNOMED/another" in {event[4] for event in events(filled)}
    assert load(filled).unread == PATIENTS


@pytest.mark.parametrize(
    "fault",
    [
        "update cdm.visit_occurrence set visit_start_date = null, visit_start_datetime = null where person_id = 39",
        "update cdm.visit_occurrence set person_id = null where person_id = 39",
        "update vocab.concept set concept_id = null where concept_id = 9201",
    ],
)
def test_a_fault_in_the_last_portion_is_found_before_anything_is_written(filled: Database, fault: str) -> None:
    change(filled, "alter table cdm.visit_occurrence alter person_id drop not null", fault)
    with pytest.raises(InputError):
        load(filled)
    written = ("ehrdb.patient", "ehrdb.event", "ehrdb.concept", "ehrdb.source_patient")
    assert [rows(filled, f"table {table}") for table in written] == [[]] * 4


def test_a_row_of_a_file_is_named_as_it_stands_there(filled: Database, tmp_path: Path) -> None:
    folder = export(filled, tmp_path)
    file = folder / "condition_occurrence.csv"
    lines = file.read_text().splitlines()
    line = next(number for number, text in enumerate(lines, start=1) if text.startswith("1300,"))
    file.write_text("\n".join(text.replace("1300,", "x1300,") for text in lines) + "\n")
    with pytest.raises(InputError) as error:
        load_omop(filled, folder, run=portioned(1, 9))
    assert (error.value.row, error.value.column) == (line, "condition_occurrence_id")
    result = load_omop(filled, folder, OmopOptions(skip_bad_rows=True), run=portioned(1, 9))
    rejected = {t.source_table: t.rows_rejected for t in result.tables if t.rows_rejected}
    assert rejected == {"condition_occurrence": 1}


def test_a_ragged_row_is_left_out_once(filled: Database, tmp_path: Path) -> None:
    folder = export(filled, tmp_path)
    with (folder / "condition_occurrence.csv").open("a") as stream:
        stream.write("1,2\n")
    options = OmopOptions(skip_bad_rows=True)
    whole = load_omop(filled, folder, options)
    forget(filled)
    result = load_omop(filled, folder, options, run=portioned(2, 9))
    assert of_tables(result) == of_tables(whole)
    assert next(t for t in result.tables if t.source_table == "condition_occurrence").rows_rejected == 1


def test_patients_of_another_source_are_refused(filled: Database) -> None:
    change(filled, "insert into ehrdb.patient (patient_id, source, fingerprint) values (40, 'other', '')")
    with pytest.raises(InputError, match="other"):
        load(filled)
    assert rows(filled, "select count(*) from ehrdb.patient") == [(1,)]


def test_a_source_without_patients_is_refused(filled: Database) -> None:
    load(filled)
    change(filled, *map("delete from {}".format, tables_of_patients(filled)))
    with pytest.raises(InputError, match="no patients"):
        load(filled)


def test_other_sources_are_not_loaded_in_portions(database: Database, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="OMOP and MEDS"):
        load_ehrshot(database, tmp_path, run=portioned(2, 9))


def write_meds(folder: Path) -> Path:
    """Three shards; subjects of odd number are in two of them."""
    (folder / "data").mkdir(parents=True)
    (folder / "metadata").mkdir()
    for shard in range(3):
        made = [
            (subject, f"2020-01-{1 + day:02}", code)
            for subject in range(1 + 10 * shard, 15 + 10 * shard)
            for day, code in enumerate(("MEDS_BIRTH", "GENDER//F", "HOSPITAL_ADMISSION//1", f"LAB//{subject}//mg/dL"))
            if subject <= 10 * shard + 10 or subject % 2
        ]
        frame = pl.DataFrame(made, ["subject_id", "time", "code"], orient="row")
        frame = frame.with_columns(pl.col("time").str.to_datetime(time_unit="us"), numeric_value=pl.lit(1.0))
        frame.write_parquet(folder / "data" / f"{shard}.parquet")
    codes = pl.DataFrame({"code": ["LAB//1//mg/dL", "LAB//2//mg/dL"], "description": ["one", "two"]})
    codes.write_parquet(folder / "metadata" / "codes.parquet")
    return folder


def test_meds_in_portions_is_meds(database: Database, tmp_path: Path) -> None:
    folder = write_meds(tmp_path / "meds")
    whole = load_meds(database, folder)
    loaded, described = events(database), shared(database)
    forget(database)
    result = load_meds(database, folder, run=portioned(2, 5))
    assert result.new == whole.new
    assert (events(database), shared(database)) == (loaded, described)
    assert of_tables(result) == of_tables(whole)
    file = folder / "data" / "1.parquet"
    other = pl.when(pl.col("subject_id") == 12).then(2.0).otherwise("numeric_value")
    pl.read_parquet(file).with_columns(numeric_value=other).write_parquet(file)
    again = load_meds(database, folder, run=portioned(2, 5))
    assert (again.changed, again.new, again.unchanged) == (1, 0, whole.new - 1)


def test_a_visit_that_a_row_of_another_portion_names_means_that_visits_are_named(
    database: Database, tmp_path: Path
) -> None:
    folder = write_meds(tmp_path / "meds")
    file = folder / "data" / "2.parquet"
    last = pl.col("subject_id") == pl.col("subject_id").max()
    pl.read_parquet(file).with_columns(visit_id=pl.when(last).then(pl.lit("7"))).write_parquet(file)
    load_meds(database, folder)
    loaded = events(database)
    assert {event[8] for event in loaded} == {None, "7"}
    forget(database)
    load_meds(database, folder, run=portioned(1, 5))
    assert events(database) == loaded


FAILING = (
    "create schema site",
    "create function site.fail() returns trigger language plpgsql as"
    " 'begin if new.patient_id > 20 then perform 1 / 0; end if; return new; end'",
    "create trigger fail before insert or update on ehrdb.patient for each row execute function site.fail()",
)


def test_who_left_the_source_is_removed_though_a_load_by_the_new_rules_was_killed(filled: Database) -> None:
    load(filled)
    change(
        filled,
        *map("delete from {} where person_id in (2, 30, 40)".format, tables_of_patients(filled)),
        "update vocab.concept set concept_code = 'another' where concept_id = 201826",
        *FAILING,
    )
    with pytest.raises(psycopg.errors.DivisionByZero):
        load(filled, workers=1)
    change(filled, "drop schema site cascade")
    assert rows(filled, "select count(*) from ehrdb.patient") == [(PATIENTS - 1,)]  # the first portion is written
    assert load(filled).removed == 2
    found = events(filled)
    forget(filled)
    load_omop_schema(filled, "cdm", "vocab")
    assert found == events(filled)


def before_stage(
    monkeypatch: pytest.MonkeyPatch, kind: type[OmopByPatients | MedsByPatients], number: int, act: Callable[[], object]
) -> None:
    """Do something when a portion is about to be staged for the `number`-th time."""
    stage, stages = kind.stage, iter(range(1, 1000))

    def acted(self: Any, connection: Connection, portion: Portion) -> Iterator[TableReport]:
        if next(stages) == number:
            act()
        yield from stage(self, connection, portion)

    monkeypatch.setattr(kind, "stage", acted)


def test_a_row_that_a_file_loses_between_the_rounds_is_not_lost(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = export(filled, tmp_path) / "condition_occurrence.csv"
    lines = file.read_text().splitlines(keepends=True)
    before_stage(monkeypatch, OmopByPatients, 3, lambda: file.write_text("".join(lines[:-1])))
    with pytest.raises(InputError, match="changed while it was loaded"):
        load_omop(filled, tmp_path, run=portioned(1, 20))


def test_a_value_that_meds_changes_between_the_rounds_is_noticed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_meds(tmp_path / "meds")
    file = folder / "data" / "0.parquet"
    other = pl.read_parquet(file).with_columns(numeric_value=pl.lit(2.0))
    before_stage(monkeypatch, MedsByPatients, 2, lambda: other.write_parquet(file))
    with pytest.raises(InputError, match="changed while it was loaded"):
        load_meds(database, folder, run=portioned(1, 100))
    assert events(database) == []


def test_sessions_that_have_read_different_vocabularies_load_nothing(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = iter((b"one", b"other"))
    monkeypatch.setattr("ehrdb.events.omop.digest_rules", lambda *_: next(digests))
    with pytest.raises(InputError, match="changed while it was loaded"):
        load(filled)


@pytest.mark.parametrize(("number", "allow_return"), [(2, False), (4, True), (8, True), (9, False), (12, True)])
def test_who_is_purged_between_two_portions_stays_purged(
    filled: Database, monkeypatch: pytest.MonkeyPatch, number: int, allow_return: bool
) -> None:
    """Of six portions, each looked at and then written."""
    load(filled)
    change(filled, "update vocab.concept set concept_code = 'another' where concept_id = 201826")
    before_stage(monkeypatch, OmopByPatients, number, lambda: purge(filled, [1, 8, 40]))
    load(filled, workers=1, options=OmopOptions(allow_return=allow_return))
    known = [(patient,) for patient in range(1, PATIENTS + 1) if patient not in (1, 8, 40)]
    assert rows(filled, "select patient_id from ehrdb.patient order by 1") == known
    assert rows(filled, "select distinct patient_id from ehrdb.event order by 1") == known
    assert rows(filled, "select patient_id from ehrdb.source_patient order by 1") == known
    again = load(filled)
    assert (again.new, again.left_out) == (0, 3)


def test_when_a_session_cannot_read_the_vocabulary_the_others_end(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    places = iter(range(2))

    def share(_: OmopByPatients, connection: Connection) -> None:
        if next(places) == 0:
            wait_for(lambda: bool(rows(filled, "select from pg_stat_activity where query = 'select pg_sleep(60)'")))
            raise InputError("no vocabulary")
        try:
            connection.execute("select pg_sleep(60)")
        except psycopg.errors.QueryCanceled:
            ended.append("ended")
            raise

    monkeypatch.setattr(OmopByPatients, "share", share)
    with pytest.raises(InputError, match="no vocabulary"):
        load(filled)
    assert ended == ["ended"]


LOADER = """
import sys
from ehrdb.database import Database
from ehrdb.events import load_omop_schema
from ehrdb.events.portions import portioned
load_omop_schema(Database(sys.argv[1]), "cdm", "vocab", run=portioned(2, 3))
"""
SLOWLY = (
    "create schema site",
    "create function site.slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.15); return null; end'",
    "create trigger slow after insert on ehrdb.patient for each statement execute function site.slow()",
)


def test_a_load_that_is_killed_keeps_its_portions_and_goes_on(filled: Database) -> None:
    load_omop_schema(filled, "cdm", "vocab")
    loaded = events(filled)
    forget(filled)
    change(filled, *SLOWLY)
    loader = subprocess.Popen([sys.executable, "-c", LOADER, filled.url])
    wait_for(lambda: loaded_so_far(filled) >= 6)
    loader.send_signal(signal.SIGKILL)
    loader.wait()
    change(filled, "drop schema site cascade")
    wait_for(
        lambda: (
            not rows(
                filled,
                "select from pg_locks l join pg_class c on c.oid = relation"
                " where relname = 'turn' and pid <> pg_backend_pid()",
            )
        )
    )
    kept = loaded_so_far(filled)
    assert 6 <= kept < PATIENTS
    without = "select from ehrdb.patient where patient_id not in (select patient_id from ehrdb.event)"
    assert rows(filled, without) == []
    result = load(filled, size=3)
    assert (result.new, result.unread) == (PATIENTS - kept, kept)
    assert events(filled) == loaded
    assert not load_omop_schema(filled, "cdm", "vocab", OmopOptions(read_all=True)).anything_changed


def loaded_so_far(database: Database) -> int:
    return int(rows(database, "select count(*) from ehrdb.patient")[0][0])
