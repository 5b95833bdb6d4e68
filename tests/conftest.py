"""One PostgreSQL server for the run, one upgraded template database, a fresh copy for every test."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from sqlalchemy import make_url

from ehrdb.config import Settings
from ehrdb.database import Connection, Database, open_database
from ehrdb.schema import upgrade

SHARED = Path(__file__).parents[2] / "shared"
_numbers = count()

# The same examples at every run, however busy the machine.
settings.register_profile("here", deadline=None, derandomize=True)
settings.load_profile("here")


def shared(path: str) -> Path:
    """A file of the shared test data; skips the test where it is not there."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"needs shared/{path} beside the checkout")
    return found


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for this run: EHRDB_TEST_DATABASE_URL, or an embedded one that is removed afterwards."""
    given = os.environ.get("EHRDB_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with started_server() as url:
        yield url


@contextmanager
def started_server() -> Iterator[str]:
    """An embedded server, removed afterwards; its URL."""
    with tempfile.TemporaryDirectory(prefix="ehrdb-test-") as home, open_database(_embedded(home)) as server:
        _run(server.url, "alter system set fsync = off")  # nobody misses these databases after a power cut
        _run(server.url, "select pg_reload_conf()")
        yield server.url


def _embedded(home: str) -> Settings:
    return Settings(home=Path(home), database_url=None)


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """Name of a database with the current schema, to copy."""
    name = f"ehrdb_template_{os.getpid()}"
    with created_database(server_url, name) as database:
        upgrade(database)
        database.engine.dispose()
        yield name


@pytest.fixture
def database(server_url: str, template: str) -> Iterator[Database]:
    """A fresh, upgraded database of the test's own."""
    with created_database(server_url, f"ehrdb_test_{os.getpid()}_{next(_numbers)}", template) as database:
        yield database


@pytest.fixture
def empty_database(server_url: str) -> Iterator[Database]:
    """A database without ehrdb in it."""
    with created_database(server_url, f"ehrdb_test_{os.getpid()}_{next(_numbers)}") as database:
        yield database


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """One transaction in a fresh database."""
    with database.transaction() as connection:
        yield connection


@contextmanager
def created_database(server_url: str, name: str, template: str = "template1") -> Iterator[Database]:
    """A database of this name, dropped afterwards whoever is still connected."""
    _run(server_url, f'create database "{name}" template "{template}"')
    url = make_url(server_url).set(database=name)
    database = Database(url.render_as_string(hide_password=False))
    try:
        yield database
    finally:
        database.engine.dispose()
        _run(server_url, f'drop database "{name}" with (force)')


def _run(server_url: str, statement: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(statement.encode())
