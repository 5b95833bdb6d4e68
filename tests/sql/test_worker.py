"""The worker: refreshes when asked, stops when told, outlives a failing round."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ehrdb.config import Settings
from ehrdb.database import Database
from ehrdb.encoder import registry
from ehrdb.errors import ModelIncomplete
from ehrdb.refresh import refresh
from ehrdb.refresh.metrics import StatusCollector
from ehrdb.refresh.worker import work
from ehrdb.testing import FakeEncoder
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


def run(database: Database, while_running: Callable[[], None], poll_seconds: int = 60) -> None:
    """A worker in a thread, for as long as `while_running` takes."""
    stop = threading.Event()
    arguments = (database, Settings(home=Path("unused")), stop)
    thread = threading.Thread(target=work, args=arguments, kwargs={"poll_seconds": poll_seconds})
    thread.start()
    try:
        while_running()
    finally:
        stop.set()
        thread.join(timeout=30)
    assert not thread.is_alive()


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        threading.Event().wait(0.1)
    raise AssertionError("waited twenty seconds")


def test_it_embeds_what_is_there_and_what_is_asked_for_later(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ehrdb.refresh.worker.load_encoder", lambda settings, encoder: FakeEncoder())

    def later() -> None:
        wait_until(lambda: embedded(filled) == 5)
        with filled.transaction() as connection:
            write(connection, [Record(3, day(30), "SNOMED/1")])

        def asked() -> bool:
            # The worker may be between two waits: ask until it hears.
            with filled.transaction() as connection:
                connection.execute("select ehr.request_refresh()")
            return embedded(filled) == 6

        wait_until(asked)

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

    monkeypatch.setattr("ehrdb.refresh.worker.load_encoder", load)
    run(filled, lambda: wait_until(lambda: embedded(filled) == 5), poll_seconds=1)
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["error"] for event in events if event["event"] == "refresh_failed"] == ["ModelIncomplete"]


def test_its_logs_hold_no_clinical_text(
    filled: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ehrdb.refresh.worker.load_encoder", lambda settings, encoder: FakeEncoder(poison="SNOMED/40"))
    run(filled, lambda: wait_until(lambda: embedded(filled) == 4))
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
