"""Real logins: over TCP, by scram passwords, as hospitals have them. Each role does its work, and no other's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from ehrdb.database import Connection, Database, closing_pool
from ehrdb.embedding import refresh, registry
from ehrdb.errors import DatabaseError
from ehrdb.events.purge import purge
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder
from tests.cli.conftest import command
from tests.conftest import bootstrap, created_database, run, same_database, started_server
from tests.records import Record, day, write
from tests.servers.test_ordinary_owner import client
from tests.servers.test_protect import ASKED, OURS, SUMMED, fill

PASSWORD = "open-sesame-0815"
Login = Callable[[str], Database]
HBA = "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
LOGINS = {
    "reader": "in role ehr_analyst",
    "worker": "in role ehr_worker bypassrls",
    "admin": "in role ehr_admin",
    "stranger": "",
}


@pytest.fixture(scope="module")
def superuser_url() -> Iterator[str]:
    """A server that listens at a port, and there lets nobody in without a password; its URL as its superuser."""
    with started_server() as url:
        with closing_pool(Database(url)) as database:
            program = client("pg_ctl", database)
        with psycopg.connect(url) as connection:
            (folder,) = connection.execute("show data_directory").fetchone() or ("",)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        run(url, f"alter role postgres password '{PASSWORD}'")
        (Path(folder) / "pg_hba.conf").write_text(HBA)
        how = ["-w", "-m", "fast", "-D", folder, "-o", f"-h 127.0.0.1 -p {port} -k {make_url(url).query['host']}"]
        user = "pgserver" if os.geteuid() == 0 else None  # the server refuses to run as root
        with (Path(folder).parent / "restart").open("w") as log:
            subprocess.run([program, *how, "restart"], check=True, stdout=log, stderr=log, cwd="/", user=user)
        yield as_login(f"postgresql://postgres@127.0.0.1:{port}/postgres", "postgres")


def as_login(url: str, name: str) -> str:
    """The same place under another name, with the password that all have here."""
    return make_url(url).set(username=name, password=PASSWORD).render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def owned(superuser_url: str) -> Iterator[Database]:
    """Twenty patients of two sites, in a database of the login `owner`; the login `reader` may see the first ten."""
    run(superuser_url, f"create role owner login password '{PASSWORD}'")
    with created_database(superuser_url, as_login(superuser_url, "owner"), "hospital") as database:
        bootstrap(superuser_url, database)
        upgrade(database)
        for name, options in LOGINS.items():
            run(superuser_url, f"create role {name} login password '{PASSWORD}' {options}")
        fill(database, "reader")
        yield database
        database.engine.dispose()


@pytest.fixture
def login(owned: Database) -> Iterator[Callable[[str], Database]]:
    """The database as a login sees it."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(closing_pool(Database(as_login(owned.url, name))))


def seen(database: Database) -> set[int]:
    with database.transaction() as connection:
        return {p for (p,) in connection.execute("select patient_id from ehr.patient")}


def test_nobody_comes_in_without_the_password(owned: Database) -> None:
    with psycopg.connect(owned.url) as connection:
        assert connection.pgconn.used_password
    for url in (make_url(owned.url).set(password="guessed"), make_url(owned.url).set(password="")):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(url.render_as_string(hide_password=False))


def test_a_reader_asks_and_changes_nothing(login: Login) -> None:
    reader = login("reader")
    assert seen(reader) == set(range(1, 21))
    with reader.transaction() as connection:
        encoder = registry.find(connection, None)
        assert connection.execute("select from ehr.nearest_patients(1, 5)").rowcount == 5
    for change in ("delete from ehrdb.event", "select ehrdb.purge_patients('{1}')", "select ehr.unprotect()"):
        with pytest.raises(psycopg.Error), reader.transaction() as connection:
            connection.execute(change.encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        refresh(reader, encoder, FakeEncoder)


def test_a_stranger_sees_nothing(login: Login) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        seen(login("stranger"))


def test_a_worker_embeds_and_reads_no_label(owned: Database, login: Login) -> None:
    with owned.transaction() as connection:
        write(connection, [Record(3, day(29), "SNOMED/new")])
        connection.execute("delete from ehrdb.embedding_job")
    with login("worker").transaction() as connection:
        encoder = registry.find(connection, None)
    done = refresh(login("worker"), encoder, FakeEncoder)
    assert (done.embedded, done.failed) == (3, 0)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), login("worker").transaction() as connection:
        connection.execute("select value from ehrdb.label")


def test_an_administrator_upgrades_and_purges(login: Login) -> None:
    assert upgrade(login("admin"), force=True) is True
    assert purge(login("admin"), [20])["event"][1] == 0


def test_a_role_under_row_level_security_sees_its_own_and_takes_nothing_away(
    superuser_url: str, owned: Database, login: Login
) -> None:
    with owned.transaction() as connection:
        connection.execute("select ehr.protect('site.visible')")
        encoder = registry.find(connection, None)
    try:
        assert seen(login("reader")) == OURS
        ehrdb = command({"EHRDB_DATABASE_URL": login("reader").url})
        assert ehrdb("timeline", "1").returncode == 0
        assert "unknown patient 11" in ehrdb("timeline", "11").stderr
        run(superuser_url, "grant ehr_worker to reader")
        with pytest.raises(DatabaseError, match="hides rows of"):
            refresh(login("reader"), encoder, FakeEncoder)
    finally:
        run(superuser_url, "revoke ehr_worker from reader")
        with owned.transaction() as connection:
            connection.execute("select ehr.unprotect()")
    assert seen(login("reader")) == set(range(1, 20))


def test_a_session_that_asks_for_one_reader_after_the_other_shows_each_their_own(
    superuser_url: str, owned: Database, login: Login
) -> None:
    """As the page's: plans that were kept for one are not used for another."""
    for name, options in {"second": "in role ehr_analyst", "page": "in role reader, second"}.items():
        run(superuser_url, f"create role {name} login password '{PASSWORD}' {options}")
    run(same_database(superuser_url, owned), "grant usage on schema results to second")
    run(same_database(superuser_url, owned), "grant select on results.cohort to second")
    with owned.transaction() as connection:
        connection.execute("insert into site.access select 'second', p from generate_series(11, 20) p")
        connection.execute("select ehr.protect('site.visible')")
    asked = {**ASKED, **SUMMED}
    with login("page").transaction() as connection:
        for _ in range(7):  # from the sixth on, a plan may be for whatever is asked
            shown = {reader: answers(connection, reader, asked) for reader in ("reader", "second")}
    for reader, found in shown.items():
        with login(reader).transaction() as connection:
            assert found == answers(connection, reader, asked)
    with owned.transaction() as connection:
        connection.execute("select ehr.unprotect()")


def answers(connection: Connection, reader: str, asked: dict[str, str]) -> dict[str, list[str]]:
    """What each question shows this reader, errors as their SQLSTATE."""
    connection.execute(f"set local role {reader}".encode())
    found = {}
    for name, question in asked.items():
        connection.execute("savepoint asked")
        try:
            found[name] = sorted(str(row) for row in connection.execute(question.encode()))
        except psycopg.Error as error:
            found[name] = [str(error.sqlstate)]
            connection.execute("rollback to savepoint asked")
    connection.execute("reset role")
    return found


def test_an_owner_under_forced_row_level_security_is_refused(owned: Database, login: Login) -> None:
    with owned.transaction() as connection:
        encoder = registry.find(connection, None)
        connection.execute("alter table ehrdb.event enable row level security")
        connection.execute("alter table ehrdb.event force row level security")
    for change in (lambda: refresh(login("owner"), encoder, FakeEncoder), lambda: purge(login("owner"), [1])):
        with pytest.raises(DatabaseError, match="hides rows of event from owner"):
            change()
    with owned.transaction() as connection:
        connection.execute("alter table ehrdb.event no force row level security")
        connection.execute("alter table ehrdb.event disable row level security")


def test_no_command_line_shows_a_password(owned: Database) -> None:
    """psql is another program: whoever may list processes reads what it was started with."""
    environment = {**os.environ, "EHRDB_DATABASE_URL": owned.url}
    statement = "select 'asked', pg_sleep(3)"
    psql = [sys.executable, "-m", "ehrdb", "psql", "-c", statement]
    with subprocess.Popen(psql, env=environment, stdout=subprocess.DEVNULL) as running:
        lines: set[str] = set()
        while running.poll() is None:
            lines |= command_lines()
            time.sleep(0.05)
    assert running.returncode == 0
    assert any("--dbname" in line and statement in line for line in lines)
    assert [line for line in lines if PASSWORD in line] == []


def test_a_secret_that_would_be_on_a_command_line_is_refused(owned: Database) -> None:
    separator = "&" if "?" in owned.url else "?"
    result = command({"EHRDB_DATABASE_URL": f"{owned.url}{separator}sslpassword=s3cret"})("psql", "-c", "select 1")
    assert result.returncode == 2
    assert "service file" in result.stderr
    assert "s3cret" not in result.stderr


def command_lines() -> set[str]:
    """What every process of this machine was started with."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.add(file.read_bytes().decode(errors="replace"))
    return found


def test_a_dump_by_the_book_holds_no_question_in_words(owned: Database, login: Login, tmp_path: Path) -> None:
    """As docs/servers.md has it."""
    book = (Path(__file__).parents[2] / "docs" / "servers.md").read_text()
    (line,) = [line.strip() for line in book.splitlines() if line.strip().startswith("pg_dump ")]
    options = [word for word in line.split()[1:-1] if not word.startswith(("--file", "--format"))]
    with psycopg.connect(owned.url, application_name="ehrdb worker"), login("reader").session() as asker:
        asker.execute("select ehrdb.ask_worker('a rare and telling complaint', null)")
        dumped = subprocess.run(
            [client("pg_dump", owned), *options, owned.url], capture_output=True, text=True, check=True
        ).stdout
    assert "CREATE UNLOGGED TABLE ehrdb.search_request" in dumped
    assert "COPY ehrdb.event " in dumped
    assert "telling complaint" not in dumped
