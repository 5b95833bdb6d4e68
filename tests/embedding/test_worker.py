"""The worker: refreshes when asked, stops when told, outlives a failing round."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from ehrdb.config import Settings
from ehrdb.database import Database
from ehrdb.embedding import refresh, registry
from ehrdb.embedding.metrics import StatusCollector
from ehrdb.errors import ModelIncomplete
from ehrdb.testing import FakeEncoder
from ehrdb.worker import Vitals, work
from tests.conftest import wait_for
from tests.records import Record, add_encoder, day, write, write_patients


@pytest.fixture
def filled(database: Database) -> Database:
    with database.transaction() as connection:
        write_patients(connection, 5)
        add_encoder(connection)
    return database


def embedded(database: Database) -> int:
    with database.transaction() as connection:
        row = connection.execute("select count(*) from ehrdb.embedding").fetchone()
        assert row is not None
        return int(row[0])


def run(
    database: Database, while_running: Callable[[], None], poll_seconds: int = 60, vitals: Vitals | None = None
) -> None:
    """A worker in a thread, for as long as `while_running` takes."""
    stop = threading.Event()
    arguments = (database, Settings(home=Path("unused")), stop)
    thread = threading.Thread(target=work, args=arguments, kwargs={"poll_seconds": poll_seconds, "vitals": vitals})
    thread.start()
    try:
        while_running()
    finally:
        stop.set()
        thread.join(timeout=30)
    assert not thread.is_alive()


def test_it_embeds_what_is_there_and_what_is_asked_for_later(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ehrdb.worker.load_encoder", lambda settings, encoder: FakeEncoder())

    def later() -> None:
        wait_for(lambda: embedded(filled) == 5)
        with filled.transaction() as connection:
            write(connection, [Record(3, day(30), "SNOMED/1")])

        def asked() -> bool:
            # The worker may be between two waits: ask until it hears.
            with filled.transaction() as connection:
                connection.execute("select ehr.request_refresh()")
            return embedded(filled) == 6

        wait_for(asked)

    run(filled, later)


def test_a_failing_round_is_logged_by_its_kind_and_tried_again(
    filled: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts: list[FakeEncoder] = []

    def load(settings: object, encoder: object) -> FakeEncoder:
        attempts.append(FakeEncoder())
        if len(attempts) == 1:
            raise ModelIncomplete("a file is missing")
        return attempts[-1]

    monkeypatch.setattr("ehrdb.worker.load_encoder", load)
    run(filled, lambda: wait_for(lambda: embedded(filled) == 5), poll_seconds=1)
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["error"] for event in events if event["event"] == "refresh_failed"] == ["ModelIncomplete"]


def test_its_logs_hold_no_clinical_text(
    filled: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ehrdb.worker.load_encoder", lambda settings, encoder: FakeEncoder(poison="SNOMED/40"))
    run(filled, lambda: wait_for(lambda: embedded(filled) == 4))
    assert "SNOMED" not in capsys.readouterr().err


def test_metrics_are_what_the_database_says(filled: Database) -> None:
    with filled.transaction() as connection:
        encoder = registry.find(connection, None)
    refresh(filled, encoder, lambda: FakeEncoder(poison="SNOMED/40"))
    collected = {
        sample.name: (sample.labels, sample.value)
        for family in StatusCollector(filled).collect()
        for sample in family.samples
    }
    assert collected["ehrdb_up"] == ({}, 1)
    assert collected["ehrdb_patients_embedded"] == ({"encoder": "fake", "digest": encoder.digest}, 4)
    assert collected["ehrdb_contents_failed"] == ({"encoder": "fake", "reason": "NonFiniteVector"}, 1)


def test_metrics_say_when_the_database_is_away() -> None:
    families = list(StatusCollector(Database("postgresql://nobody@127.0.0.1:1/none")).collect())
    assert [(family.name, family.samples[0].value) for family in families] == [("ehrdb_up", 0)]


def ask(database: Database, arguments: str) -> list[dict[str, object]]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        row = connection.execute(f"call ehr.search_text({arguments})".encode()).fetchone()
    assert row is not None
    return list(row[0])


def is_listening(database: Database) -> bool:
    with database.transaction() as connection:
        question = (
            "select from pg_stat_activity where datname = current_database() and application_name = 'ehrdb worker'"
        )
        return connection.execute(question).rowcount == 1


def waiting_questions(database: Database) -> int:
    with database.transaction() as connection:
        return connection.execute("select from ehrdb.search_request").rowcount


def test_a_search_in_words_finds_the_record_that_reads_so(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ehrdb.worker.load_encoder", lambda settings, encoder: FakeEncoder())
    found: list[list[dict[str, object]]] = []

    def ask_for_patient_3() -> None:
        wait_for(lambda: embedded(filled) == 5 and is_listening(filled))
        with filled.transaction() as connection:
            row = connection.execute("select ehr.timeline(3)").fetchone()
        assert row is not None
        found.append(ask(filled, "'" + row[0] + "', 2"))

    run(filled, ask_for_patient_3)
    assert [neighbour["rank"] for neighbour in found[0]] == [1, 2]
    assert found[0][0]["patient_id"] == 3
    assert waiting_questions(filled) == 0


def test_a_search_in_words_without_a_worker_says_so_at_once(filled: Database) -> None:
    with pytest.raises(psycopg.Error, match="no worker is running") as caught:
        ask(filled, "'heart failure'")
    assert caught.value.diag.sqlstate == "EH008"


def test_a_question_that_nobody_answers_in_time_is_withdrawn(filled: Database) -> None:
    with (
        psycopg.connect(filled.url, application_name="ehrdb worker"),
        pytest.raises(psycopg.Error, match="no worker answered in time"),
    ):
        ask(filled, "'heart failure', patience => '50 ms'")
    assert waiting_questions(filled) == 0


def test_a_question_that_cannot_be_read_is_answered_by_the_kind_of_error(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ehrdb.worker.load_encoder", lambda settings, encoder: FakeEncoder(poison="plague"))

    def ask_poison() -> None:
        wait_for(lambda: is_listening(filled))
        with pytest.raises(psycopg.Error, match="the worker reports NonFiniteVector"):
            ask(filled, "'plague'")

    run(filled, ask_poison)


def test_an_analyst_may_ask_but_not_read_others_questions(
    filled: Database, analyst: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ehrdb.worker.load_encoder", lambda settings, encoder: FakeEncoder())
    found: list[int] = []

    def ask_as_analyst() -> None:
        wait_for(lambda: embedded(filled) == 5 and is_listening(filled))
        with analyst.session() as connection:
            row = connection.execute("call ehr.search_text('anything', 4)").fetchone()
            assert row is not None
            found.append(len(row[0]))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select * from ehrdb.search_request")

    run(filled, ask_as_analyst)
    assert found == [4]
