"""Who asked what about whom is written down, by everybody, and changed by nobody."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from ehrdb.database import Database
from ehrdb.embedding import Queue, refresh, registry
from ehrdb.encoder import Encoded
from ehrdb.events.purge import purge
from ehrdb.testing import FakeEncoder
from tests.cli.conftest import command
from tests.records import add_encoder, write_patients
from tests.servers.test_rights import login


@pytest.fixture
def filled(database: Database) -> Database:
    """Six embedded patients."""
    with database.transaction() as connection:
        write_patients(connection, 6)
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    return database


def noted(database: Database) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return connection.execute("select who, what, patients, cohort_size from ehr.audit order by at").fetchall()


def test_what_a_reader_asks_of_the_command_line_is_noted_in_their_name(
    filled: Database, analyst: Database, tmp_path: Path
) -> None:
    ehrdb = command({"EHRDB_DATABASE_URL": analyst.url, "EHRDB_HOME": str(tmp_path)})
    reader = make_url(analyst.url).username
    assert ehrdb("timeline", "1").returncode == 0
    assert ehrdb("timeline", "404").returncode == 2
    cohort = "select patient_id from ehr.patient where patient_id < 4"
    assert ehrdb("nearest", "2", "--cohort", cohort).returncode == 0
    assert noted(filled) == [
        (reader, "timeline", [1], None),
        (reader, "timeline", [404], None),
        (reader, "nearest", [2], None),
        (reader, "cohort", None, 3),
    ]


def test_what_fails_is_noted_too_with_the_size_of_the_cohort(
    filled: Database, analyst: Database, tmp_path: Path
) -> None:
    ehrdb = command({"EHRDB_DATABASE_URL": analyst.url, "EHRDB_HOME": str(tmp_path)})
    reader = make_url(analyst.url).username
    assert ehrdb("nearest", "404", "--cohort", "select 1").returncode == 2
    assert ehrdb("predict", "nothing", "1").returncode == 2
    assert noted(filled) == [
        (reader, "nearest", [404], None),
        (reader, "cohort", None, 1),
        (reader, "predict nothing", [1], None),
    ]


def test_nobody_fills_it_with_one_question(filled: Database, analyst: Database) -> None:
    with analyst.transaction() as connection:
        connection.execute("select ehrdb.record(repeat('x', 1000000))")
    assert noted(filled) == [(make_url(analyst.url).username, "x" * 1000, None, None)]


@pytest.mark.parametrize("duty", ["analyst", "worker", "admin"])
@pytest.mark.usefixtures("ordinary_owner")
def test_no_role_changes_what_is_noted(server_url: str, filled: Database, duty: str) -> None:
    with filled.transaction() as connection:
        connection.execute("select ehrdb.record('a test')")
    with login(server_url, filled, f"in role ehr_{duty}") as somebody:
        for statement in ("update ehrdb.audit set who = 'somebody'", "delete from ehrdb.audit", "truncate ehrdb.audit"):
            with pytest.raises(psycopg.Error) as caught, somebody.transaction() as connection:
                connection.execute(statement.encode())
            assert caught.value.sqlstate == ("EH013" if duty == "admin" else "42501")
    assert len(noted(filled)) == 1


def test_a_reader_neither_reads_nor_changes_it(filled: Database, analyst: Database) -> None:
    with analyst.transaction() as connection:
        connection.execute("select ehrdb.record('a test')")
    for statement in (
        "select * from ehr.audit",
        "insert into ehrdb.audit (what) values ('made up')",
        "update ehrdb.audit set who = 'somebody'",
        "delete from ehrdb.audit",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), analyst.transaction() as connection:
            connection.execute(statement.encode())


@pytest.mark.parametrize(
    "statement", ["update ehrdb.audit set what = ''", "delete from ehrdb.audit", "truncate ehrdb.audit"]
)
def test_its_owner_does_not_change_it_by_accident(filled: Database, statement: str) -> None:
    with pytest.raises(psycopg.Error) as caught, filled.transaction() as connection:
        connection.execute(statement.encode())
    assert caught.value.sqlstate == "EH013"


def test_a_patient_who_is_purged_while_the_model_reads_leaves_no_vector(filled: Database) -> None:
    with filled.transaction() as connection:
        encoder = registry.find(connection, None)
        connection.execute("delete from ehrdb.embedding")
        connection.execute("delete from ehrdb.patient_embedding")
        connection.execute("select ehrdb.queue_lost(%s)", [encoder.encoder_id])
    queue = Queue(filled, encoder, "held")
    claimed = queue.claim(10)
    assert len(claimed) == 6
    purge(filled, [1])
    encoded: Encoded = FakeEncoder().encode([text for _, text in claimed])
    queue.store([content for content, _ in claimed], encoded)
    with filled.transaction() as connection:
        counts = [
            connection.execute(b"select count(*) from ehrdb." + table).fetchone()
            for table in (b"embedding", b"patient_embedding", b"embedding_point", b"embedding_job")
        ]
    assert counts == [(5,), (5,), (5,), (0,)]


def test_a_purge_recounts_concepts(filled: Database) -> None:
    with filled.transaction() as connection:
        counted = "select count(*)::integer, min(patients), max(patients) from ehrdb.concept_frequency"
        assert connection.execute(counted).fetchone() == (18, 1, 1)
    purge(filled, [1, 2])
    with filled.transaction() as connection:
        assert connection.execute(counted).fetchone() == (12, 1, 1)
