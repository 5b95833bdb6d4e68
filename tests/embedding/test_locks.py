"""Readers of schema ehr wait for nobody: what changes encoders and vectors takes no lock that they need."""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from ehrdb.database import Connection, Database
from ehrdb.embedding import refresh, registry, repair
from ehrdb.embedding.queue import Queue
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.embedding.vectors import import_vectors
from ehrdb.events.purge import purge
from ehrdb.testing import FakeEncoder
from tests.conftest import wait_for
from tests.embedding.test_encoder_kinds import parquet, rows
from tests.records import Record, add_encoder, day, write, write_patients

WAIT = "100ms"
QUESTIONS = (
    "select count(*) from ehr.nearest_patients(1, 3)",
    "select count(*) from ehr.embedding_status",
    "select count(*) from ehr.event",
    "select ehr.timeline(1)",
)


@pytest.fixture
def encoder(database: Database) -> RegisteredEncoder:
    with database.transaction() as connection:
        write_patients(connection, 12)
        first = add_encoder(connection)
    refresh(database, first, FakeEncoder)
    return first


@contextmanager
def read_meanwhile(database: Database, questions: Sequence[str] = QUESTIONS) -> Iterator[None]:
    """Somebody asks all the time, and would give up on the first lock that takes longer than that."""
    stop, failed, asked = threading.Event(), list[Exception](), [0]

    def read() -> None:
        try:
            with psycopg.connect(database.url, autocommit=True) as reader:
                reader.execute(f"set lock_timeout = '{WAIT}'".encode())
                while not stop.is_set():
                    for question in questions:
                        reader.execute(question.encode())
                    asked[0] += 1
        except psycopg.Error as error:
            failed.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
        had = asked[0]
        while not failed and asked[0] < had + 2:
            time.sleep(0.01)
    finally:
        stop.set()
        thread.join()
    assert failed == []


def hold(connection: Connection) -> None:
    """Long enough for a reader to give up, if this transaction is in its way."""
    connection.execute("select pg_sleep(0.4)")


def test_no_reader_waits_for_a_refresh(database: Database, encoder: RegisteredEncoder) -> None:
    with read_meanwhile(database):
        with database.transaction() as connection:
            write(connection, [Record(3, day(28), "SNOMED/1")])
            connection.execute("select ehrdb.plan_refresh()")
            hold(connection)
        refresh(database, encoder, FakeEncoder)


def test_no_reader_waits_for_a_new_encoder(database: Database, encoder: RegisteredEncoder) -> None:
    with read_meanwhile(database):
        with database.transaction() as connection:
            second = add_encoder(connection, "second")
            hold(connection)
        refresh(database, second, FakeEncoder)


def test_no_reader_waits_for_an_import(database: Database, encoder: RegisteredEncoder, tmp_path: Path) -> None:
    file = parquet(tmp_path, rows())
    slow = "begin perform pg_sleep(0.4); return null; end"
    with database.transaction() as connection:
        connection.execute("create schema site")
        connection.execute(f"create function site.slow() returns trigger language plpgsql as '{slow}'".encode())
        connection.execute(
            "create trigger slow after insert on ehrdb.embedding for each statement execute function site.slow()"
        )
    with read_meanwhile(database):
        import_vectors(database, file, "clmbr")


def test_no_reader_waits_for_an_activation(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        add_encoder(connection, "second")
    with read_meanwhile(database), database.transaction() as connection:
        registry.activate(connection, "fake")
        hold(connection)


def test_no_reader_waits_for_a_purge_or_a_repair(database: Database, encoder: RegisteredEncoder) -> None:
    with read_meanwhile(database):
        purge(database, [5])
        repair(database)
        with database.transaction() as connection:
            connection.execute("select ehrdb.repair()")
            hold(connection)


def test_a_drop_comes_between_readers_and_keeps_none_of_them_waiting(
    database: Database, encoder: RegisteredEncoder
) -> None:
    with database.transaction() as connection:
        second = add_encoder(connection, "second")
    refresh(database, second, FakeEncoder)
    with psycopg.connect(database.url) as busy:
        busy.execute("select count(*) from ehrdb.patient_embedding")  # a reader who takes her time
        dropping = threading.Thread(target=drop, args=(database, "second"))
        with read_meanwhile(database):
            dropping.start()
            time.sleep(1)
            busy.rollback()
            dropping.join()
    with database.transaction() as connection:
        assert connection.execute("select to_regclass(%s)", [f"ehrdb.embedding_{second.encoder_id}"]).fetchone() == (
            None,
        )


def drop(database: Database, name: str) -> None:
    with database.transaction() as connection:
        registry.drop(connection, name)


def test_a_plan_waits_for_a_worker_that_stores_and_neither_has_to_begin_anew(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(n), f"SNOMED/{p}{n}") for p in (1, 2) for n in (1, 10)])
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    queue = Queue(database, encoder, "stores")
    contents, texts = claimed_of_the_past(queue, 1, day(5))
    with database.transaction() as connection:
        # What is embedded of patient 1 is taken away, what search reads of patient 2 is written anew, by both.
        connection.execute("delete from ehrdb.snapshot")
        write(connection, [Record(1, day(3), "SNOMED/late")])
        connection.execute("insert into ehrdb.changed_patient (patient_id) values (2)")
        current = connection.execute(
            "select content_sha256 from ehrdb.patient_embedding where patient_id = 2"
        ).fetchone()
        assert current is not None
    store = inspect.unwrap(Queue.store)
    contents, encoded = [*contents, current[0]], FakeEncoder().encode([*texts, "text of patient 2"])
    with database.transaction() as holder:
        holder.execute("select from ehrdb.embedding_job for update")
        storing = started(lambda: store(queue, contents, encoded))
        wait_for(lambda: waiting(database) == 1)
        planning = started(lambda: plan_once(database))
        wait_for(lambda: waiting(database) == 2)
    assert [each() for each in (storing, planning)] == [None, None]
    with database.transaction() as connection:
        rows = connection.execute("select count(*) from ehrdb.embedding_point where patient_id = 1 and not is_current")
        assert rows.fetchone() == (0,)


def claimed_of_the_past(queue: Queue, patient_id: int, moment: datetime) -> tuple[list[bytes], list[str]]:
    """A patient's record as of a moment, in the hands of a worker."""
    values = [queue.encoder.encoder_id, moment, [patient_id]]
    with queue.database.transaction() as connection:
        connection.execute("select ehrdb.plan_snapshot(%s, %s, %s)", values)
    contents, texts = zip(*queue.claim(10), strict=True)
    return list(contents), list(texts)


def plan_once(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("select ehrdb.plan_refresh()")


def started(work: Callable[[], None]) -> Callable[[], Exception | None]:
    """Work in a thread; called, it waits for the end and says how that was."""
    failed: list[Exception] = []

    def run() -> None:
        try:
            work()
        except psycopg.Error as error:
            failed.append(error)

    def ended() -> Exception | None:
        thread.join()
        return failed[0] if failed else None

    thread = threading.Thread(target=run)
    thread.start()
    return ended


def waiting(database: Database) -> int:
    """Sessions of this database that wait for another's lock."""
    with database.transaction() as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0"
        ).fetchone()
        assert row is not None
        return int(row[0])


PLANNER = """
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    for step in range(1000):
        connection.execute("select ehrdb.plan_refresh(3)")
        connection.execute("select pg_sleep(0.05)")
"""


def test_a_plan_that_is_killed_loses_nothing_and_goes_on_where_it_was(database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 60)
        encoder = add_encoder(connection)
    planner = subprocess.Popen([sys.executable, "-c", PLANNER, database.url])
    wait_for(lambda: planned(database) >= 6)
    planner.send_signal(signal.SIGKILL)
    planner.wait()
    assert 6 <= planned(database) < 60
    result = refresh(database, encoder, FakeEncoder)
    assert (result.embedded, result.failed) == (60, 0)
    assert result.patients < 60


def planned(database: Database) -> int:
    with database.transaction() as connection:
        row = connection.execute("select count(*) from ehrdb.embedding_job").fetchone()
        assert row is not None
        return int(row[0])
