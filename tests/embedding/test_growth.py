"""What a change costs is proportional to the change: nothing reads a whole table because one row changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import psycopg
import pytest

from ehrdb.client import read_status
from ehrdb.database import Connection, Database
from ehrdb.embedding import Queue, refresh, registry, repair
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.events.purge import purge
from ehrdb.testing import FakeEncoder
from tests.conftest import created_database
from tests.records import Record, add_encoder, day, write

PATIENTS, EVENTS = 4000, 10
FEW = 1500
"""Rows that may be read on the way, catalogue-like tables (units, rules, encoders) read whole included."""


@pytest.fixture(scope="module")
def filled(server_url: str, owner_url: str, template: str) -> Iterator[Database]:
    """Many patients, all with vectors; statistics as after a load."""
    with created_database(server_url, owner_url, f"ehrdb_growth_{os.getpid()}", template) as database:
        with database.transaction() as connection:
            fill(connection)
            encoder = add_encoder(connection)
        refresh(database, encoder, lambda: FakeEncoder(batch=500))
        with database.session() as session:
            session.execute("vacuum analyze")
        refresh(database, encoder, FakeEncoder)
        yield database


def fill(connection: Connection) -> None:
    """Everybody has one concept, and some of 500 others."""
    connection.execute(
        "insert into ehrdb.concept (code, vocabulary, description)"
        " select 'SNOMED/' || n, 'SNOMED', 'finding ' || n from generate_series(0, 500) n"
    )
    connection.execute(
        "insert into ehrdb.patient (patient_id, source, fingerprint)"
        " select p, 'test', '' from generate_series(1, %s) p",
        [PATIENTS],
    )
    connection.execute(
        "insert into ehrdb.event (patient_id, ordinal, time, code_id, numeric_value)"
        " select p.patient_id, n, timestamp '2020-01-01' + n * interval '1 day', c.code_id,"
        "        case when n = 0 then p.patient_id end"
        "   from ehrdb.patient p cross join generate_series(0, %s - 1) n"
        "   join ehrdb.concept c on c.code = 'SNOMED/' || case when n = 0 then 0"
        "        else 1 + (p.patient_id * 7 + n) %% 500 end",
        [EVENTS],
    )


def encoder_of(database: Database) -> RegisteredEncoder:
    with database.transaction() as connection:
        return registry.find(connection, None)


def rows_read(database: Database, work: Callable[[], object]) -> dict[str, int]:
    """Rows that were read meanwhile, of each table of ours, by whichever way; sessions that end tell theirs."""
    before = _read_so_far(database)
    work()
    after = _read_so_far(database)
    return {name: after[name] - before.get(name, 0) for name in after if after[name] > before.get(name, 0)}


def _read_so_far(database: Database) -> dict[str, int]:
    database.engine.dispose()
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("select pg_stat_clear_snapshot()")
        while connection.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
        ).fetchone() != (1,):
            pass
        rows = connection.execute(
            "select t.relname, t.seq_tup_read + (select coalesce(sum(i.idx_tup_read), 0)::bigint"
            "                                      from pg_stat_user_indexes i where i.relid = t.relid)"
            "  from pg_stat_user_tables t where t.schemaname = 'ehrdb'"
        )
        return dict(rows.fetchall())


def change(database: Database, *patients: int) -> None:
    with database.transaction() as connection:
        write(connection, [Record(patient, day(28), "SNOMED/later") for patient in patients])


def refreshed(database: Database) -> int:
    return refresh(database, encoder_of(database), FakeEncoder).embedded


def show_status(database: Database) -> None:
    with database.transaction() as connection:
        read_status(connection, "rows")


def test_an_event_more_touches_its_code_alone(database: Database) -> None:
    """In one of the longest of all records; were it alone in the table, to read the whole could be the better plan."""
    with database.transaction() as connection:
        write(connection, [Record(patient, day(1), f"SNOMED/{n}") for patient in range(1, 5) for n in range(400)])
        connection.execute(
            "insert into ehrdb.event (patient_id, ordinal, time, code_id)"
            " select p, 400 + n, timestamp '2020-02-01' + n * interval '1 hour', c.code_id"
            "   from generate_series(1, 4) p cross join generate_series(1, 8000) n"
            "   join ehrdb.concept c on c.code = 'SNOMED/' || n % 400"
        )
    with database.session() as session:
        session.execute("vacuum analyze ehrdb.event")
    assert rows_read(database, lambda: add_one(database))["event"] < 5000


def add_one(database: Database) -> None:
    """An event of the code that the patient has once."""
    with database.transaction() as connection:
        connection.execute(
            "insert into ehrdb.event (patient_id, ordinal, time, code_id)"
            " select 1, 100000, '2025-01-01', c.code_id from ehrdb.concept c where c.code = 'SNOMED/2'"
        )


@pytest.mark.parametrize(
    "work", [refreshed, show_status, lambda database: Queue(database, encoder_of(database), "x").outlook()]
)
def test_looking_reads_no_records_and_no_vectors(filled: Database, work: Callable[[Database], object]) -> None:
    read = rows_read(filled, lambda: work(filled))
    assert sum(read.values()) < FEW, read


def test_one_changed_patient_is_embedded_without_a_look_at_the_others(filled: Database) -> None:
    change(filled, 17)
    embedded: list[int] = []
    read = rows_read(filled, lambda: embedded.append(refreshed(filled)))
    assert embedded == [1]
    assert sum(read.values()) < FEW, read


def test_one_purged_patient_goes_without_a_look_at_the_others(filled: Database) -> None:
    read = rows_read(filled, lambda: purge(filled, [18]))
    assert sum(count for name, count in read.items() if name != "concept") < FEW, read


def test_what_is_kept_by_difference_is_what_counting_says(filled: Database) -> None:
    change(filled, 19, 20)
    refreshed(filled)
    purge(filled, [21])
    repaired = repair(filled)
    assert repaired.is_clean, repaired


def test_a_repair_finds_what_was_changed_behind_its_back(filled: Database) -> None:
    with filled.transaction() as connection:
        connection.execute("update ehrdb.concept_frequency set patients = patients + 1 where patients > 1000")
        connection.execute("insert into ehrdb.figure (encoder_id, embedded) select encoder_id, 5 from ehrdb.encoder")
        connection.execute("alter table ehrdb.embedding disable trigger user")
        connection.execute(
            "delete from ehrdb.embedding where content_sha256 ="
            " (select content_sha256 from ehrdb.embedding order by content_sha256 limit 1)"
        )
        connection.execute("alter table ehrdb.embedding enable trigger user")
    repaired = repair(filled)
    assert (repaired.wrong_frequencies, repaired.wrong_figures, repaired.lost) == (1, 1, 1)
    assert repair(filled).is_clean
    assert refreshed(filled) == 1


def test_patients_without_a_text_are_planned_once(filled: Database) -> None:
    with filled.transaction() as connection:
        connection.execute("insert into ehrdb.patient (patient_id, source, fingerprint) values (1000000, 'test', '')")
        repaired = connection.execute("delete from ehrdb.plan_progress").rowcount
        assert repaired == 1
    assert plan(filled)[0] == 1
    assert plan(filled)[0] == 0


def plan(database: Database, most: int = 10000) -> tuple[int, int, bool]:
    with database.transaction() as connection:
        row = connection.execute("select patients, queued, is_done from ehrdb.plan_refresh(%s)", [most]).fetchone()
        assert row is not None
        return row[0], row[1], row[2]


def test_a_plan_goes_in_steps(filled: Database) -> None:
    change(filled, *range(31, 41))
    assert plan(filled, 4) == (4, 4, False)
    assert plan(filled, 4) == (4, 4, False)
    assert plan(filled, 4) == (2, 2, True)
    assert refreshed(filled) == 10


def test_a_new_encoders_first_plan_goes_in_steps_and_takes_everybody(filled: Database) -> None:
    with filled.transaction() as connection:
        second = add_encoder(connection, "second")
    assert plan(filled, 3000)[2] is False
    assert plan(filled, 3000)[2] is True
    with filled.transaction() as connection:
        counted = connection.execute(
            "select count(*) from ehrdb.embedding_point where encoder_id = %s", [second.encoder_id]
        ).fetchone()
        everybody = connection.execute("select count(distinct patient_id) from ehrdb.event").fetchone()
    assert counted == everybody
