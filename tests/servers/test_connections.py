"""Connections: whatever the server, the database, the role or a pooler between says, data mean the same."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

from ehrdb.config import Settings
from ehrdb.database import Connection, Database, closing_pool, is_pooled, open_database
from ehrdb.embedding import refresh
from ehrdb.embedding.index import ensure_index
from ehrdb.errors import ConfigError, DatabaseError, DatabaseUnavailable
from ehrdb.events import load_omop
from ehrdb.testing import FakeEncoder
from ehrdb.worker import work
from tests.cli.conftest import command
from tests.conftest import created_database
from tests.records import Record, add_encoder, day, write, write_patients

HOSTILE = {
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kolkata",
    "extra_float_digits": "-12",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "escape_string_warning": "off",
    "search_path": "nowhere",
    "client_encoding": "LATIN1",
}
ANSWERS = (
    "select string_agg(ehr.timeline(patient_id), '|' order by patient_id) from ehr.patient",
    "select string_agg(ehr.timeline(patient_id, '2020-01-10', 'markdown'), '|' order by patient_id) from ehr.patient",
    "select string_agg(n::text, '|') from (select rank, patient_id, similarity from ehr.nearest_patients(1, 5)) n",
    "select string_agg(n::text, '|') from (select relation, description, weight from ehr.explain_similarity(1, 2)) n",
    "select string_agg(n::text, '|') from (select encoder, patients, embedded from ehr.embedding_status) n",
)


def misconfigure(connection: Connection) -> None:
    """What a DBA may have set for a database; new sessions have it."""
    for name, value in HOSTILE.items():
        connection.execute(f"alter database {connection.info.dbname} set {name} = '{value}'".encode())


@pytest.fixture
def answering(database: Database) -> Database:
    """Thirty embedded patients."""
    with database.transaction() as connection:
        write_patients(connection, 30)
        write(connection, [Record(p, day(25), "LOINC/1", value=1 / p, unit="mg") for p in range(1, 31)])
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    return database


@pytest.fixture
def misconfigured(answering: Database) -> Database:
    """The same database, new sessions of which begin with hostile settings."""
    with answering.transaction() as connection:
        misconfigure(connection)
    answering.engine.dispose()
    return answering


def answers(connection: Connection) -> list[object]:
    return [connection.execute(question.encode()).fetchone() for question in ANSWERS]


def shown(connection: Connection) -> dict[str, str]:
    rows = {name: connection.execute(f"show {name}".encode()).fetchone() for name in HOSTILE}
    return {name: row[0] for name, row in rows.items() if row}


PINNED = {
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "search_path": "pg_catalog, pg_temp",
    "client_encoding": "UTF8",
}


def test_a_pooled_connection_pins_what_decides_how_values_read(misconfigured: Database) -> None:
    for _ in range(2):  # a new one, and the same again from the pool
        with misconfigured.transaction() as connection:
            assert shown(connection).items() >= PINNED.items()


def test_every_transaction_pins_it_for_the_session_may_be_anothers(misconfigured: Database) -> None:
    with misconfigured.transaction() as connection:
        connection.execute("reset all")  # as a pooler leaves a session that others had meanwhile
    with misconfigured.transaction() as connection:
        assert shown(connection).items() >= PINNED.items()


def test_a_session_pins_it_too(misconfigured: Database) -> None:
    with misconfigured.session() as connection:
        assert shown(connection).items() >= PINNED.items()


def test_psql_pins_it_too(misconfigured: Database, tmp_path: Path) -> None:
    ehrdb = command({"EHRDB_DATABASE_URL": misconfigured.url, "EHRDB_HOME": str(tmp_path)})
    asked = [part for name in PINNED for part in ("-c", f"show {name}")]
    result = ehrdb("psql", "--", "-At", *asked)
    assert result.returncode == 0, result.stderr
    # Whoever types SQL wants short names.
    assert result.stdout.splitlines() == list({**PINNED, "search_path": "public, pg_temp"}.values())


def test_answers_do_not_depend_on_the_askers_settings(misconfigured: Database) -> None:
    with misconfigured.transaction() as connection:
        expected = answers(connection)
    with psycopg.connect(misconfigured.url) as connection:
        assert shown(connection)["DateStyle"] == "German, DMY"
        connection.execute("set extra_float_digits = 1")  # how the asker's own client prints numbers is the asker's
        assert answers(connection) == expected


def test_a_load_under_other_settings_finds_nothing_changed(database: Database, tmp_path: Path) -> None:
    (tmp_path / "person.csv").write_text("person_id,gender_concept_id,year_of_birth\n1,8507,1950\n2,8532,1960\n")
    (tmp_path / "concept.csv").write_text("concept_id,concept_name,vocabulary_id,concept_code\n1,Test,LOINC,1-1\n")
    (tmp_path / "measurement.csv").write_text(
        "measurement_id,person_id,measurement_concept_id,measurement_date,value_as_number\n1,1,1,2020-01-05,0.1\n"
    )
    assert load_omop(database, tmp_path).new == 2
    with database.transaction() as connection:
        misconfigure(connection)
        connection.execute("update ehrdb.source set digest = ''")  # as if the files had been written anew
    database.engine.dispose()
    again = load_omop(database, tmp_path)
    assert (again.unchanged, again.changed) == (2, 0)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_in_another_encoding_is_refused(server_url: str, owner_url: str, encoding: str) -> None:
    options = f"encoding '{encoding}' locale 'C'"
    with (
        created_database(server_url, owner_url, f"ehrdb_{encoding.lower()}", options=options) as database,
        pytest.raises(DatabaseError, match=f"is encoded in {encoding}; ehrdb needs UTF8"),
        database.begin(),
    ):
        pass


@pytest.mark.parametrize(
    "url", ["mysql://me:secret-word@host/db", "postgresql+psycopg://me:secret-word@host/db", "nonsense secret-word"]
)
def test_what_is_no_postgresql_url_is_refused_and_not_quoted(url: str) -> None:
    database = Database(url)
    with pytest.raises(ConfigError, match="is not a PostgreSQL URL") as caught, database.begin():
        pass
    assert "secret-word" not in caught.value.message + str(caught.value.hint) + database.place


def test_a_port_that_is_no_number_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="port"), Database("postgresql://me@host:abc/db").begin():
        pass


def test_a_password_shows_nowhere(tmp_path: Path) -> None:
    for url in ("postgresql://me:s3cret@h/d?sslpassword=s3cret", "host=h user=me password='s3 cret' dbname=d"):
        assert re.search("s3.?cret", Database(url).place) is None
    assert Database("postgresql://me:s3cret@h:1/d").place == "postgresql://me@h:1/d"


def test_a_libpq_service_and_its_password_file_are_enough(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = conninfo_to_dict(database.url)
    password = parts.pop("password", "")
    lines = [f"{name}={value}" for name, value in parts.items()]
    (tmp_path / "services").write_text("\n".join(["[hospital]", *lines, f"passfile={tmp_path / 'pass'}"]) + "\n")
    (tmp_path / "pass").write_text(f"*:*:*:*:{password}\n")
    (tmp_path / "pass").chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    with open_database(Settings(database_url="service=hospital")) as found, found.transaction() as connection:
        assert connection.info.dbname == parts["dbname"]
        assert found.place == "service hospital"
    assert command({"EHRDB_DATABASE_URL": "postgresql:///?service=hospital"})("status").returncode == 0


@pytest.fixture
def pooled(misconfigured: Database, tmp_path: Path) -> Iterator[Database]:
    """The misconfigured database behind a pgbouncer that pools transactions on two connections."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("needs pgbouncer")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = make_url(misconfigured.url)
    server = {"host": url.query.get("host") or url.host, "port": url.port or 5432}
    place = " ".join(f"{name}={value}" for name, value in server.items())
    (tmp_path / "users.txt").write_text(f'"{url.username}" "{url.password or ""}"\n')
    (tmp_path / "pgbouncer.ini").write_text(
        f"[databases]\n* = {place}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = trust\nauth_file = {tmp_path / 'users.txt'}\npool_mode = transaction\n"
        "default_pool_size = 2\nserver_tls_sslmode = disable\nquery_wait_timeout = 20\n"
    )
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    socket_folder = Path(str(server["host"]))
    user = ["-u", socket_folder.owner() if socket_folder.is_absolute() else "nobody"] if os.geteuid() == 0 else []
    log = (tmp_path / "pgbouncer.log").open("wb")
    process = subprocess.Popen([program, *user, str(tmp_path / "pgbouncer.ini")], stderr=log)
    database = Database(f"postgresql://{url.username}@127.0.0.1:{port}/{url.database}")
    try:
        wait_for(database)
        with closing_pool(database):
            yield database
    finally:
        process.terminate()
        process.wait()
        log.close()


def wait_for(database: Database) -> None:
    for _ in range(100):
        try:
            with database.begin():
                return
        except DatabaseUnavailable:
            time.sleep(0.1)
    raise AssertionError("pgbouncer does not answer")


def test_everything_but_listen_works_through_a_pooler(pooled: Database) -> None:
    with pooled.session() as session:
        assert is_pooled(session)
    with pooled.transaction() as connection:
        assert shown(connection).items() >= PINNED.items()
        connection.execute("create or replace function ehrdb.exact_search_bound() returns integer return 5")
        write(connection, [Record(31, day(30), "SNOMED/1")])
        encoder = add_encoder(connection, "fake")
    assert refresh(pooled, encoder, FakeEncoder).embedded == 1
    assert ensure_index(pooled, encoder, rebuild=True)
    with pooled.transaction() as connection:
        assert connection.execute("select count(*) from ehr.nearest_patients(31, 10)").fetchone() == (10,)


def test_a_worker_behind_a_pooler_says_so_and_looks_by_itself(
    pooled: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ehrdb.worker.load_encoder", lambda settings, encoder: FakeEncoder())
    monkeypatch.setattr("ehrdb.worker.POOLED_POLL_SECONDS", 0.2)
    stop = threading.Event()
    worker = threading.Thread(
        target=work, args=(pooled, Settings(home=Path("unused")), stop), kwargs={"poll_seconds": 600}
    )
    worker.start()
    try:
        with pooled.transaction() as connection:
            write(connection, [Record(31, day(30), "SNOMED/1")])
        deadline = time.monotonic() + 60
        while not is_embedded(pooled, 31) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert is_embedded(pooled, 31)
    finally:
        stop.set()
        worker.join(timeout=60)
    assert "a pooler stands between" in capsys.readouterr().err


def is_embedded(database: Database, patient_id: int) -> bool:
    with database.transaction() as connection:
        row = connection.execute(
            "select count(*) from ehrdb.patient_embedding where patient_id = %s", [patient_id]
        ).fetchone()
    return row == (1,)
