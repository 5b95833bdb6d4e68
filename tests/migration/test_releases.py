"""A database of every release can be upgraded by who owns it, and answers as it did."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from ehrdb import __version__
from ehrdb.database import Database
from ehrdb.schema import upgrade
from tests.conftest import created_database
from tests.migration.fixture import FOLDER, answers, dump, versions
from tests.migration.test_upgrade import definitions

OWNER = f"ehrdb_test_owner_{os.getpid()}"


@pytest.fixture(params=versions())
def restored(server_url: str, request: pytest.FixtureRequest) -> Iterator[tuple[str, Database]]:
    """A release and its database, restored by an ordinary user."""
    with created_database(server_url, f"ehrdb_test_{os.getpid()}_restored") as database:
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("create extension vector schema public")
            connection.execute(f"create role {OWNER} login password 'test'".encode())
            connection.execute(f"grant create on database {connection.info.dbname} to {OWNER}".encode())
        url = make_url(database.url).set(username=OWNER, password="test")
        owned = Database(url.render_as_string(hide_password=False))
        try:
            with psycopg.connect(owned.url) as connection:
                connection.execute(dump(request.param).encode())
            yield request.param, owned
        finally:
            owned.engine.dispose()
            with psycopg.connect(database.url, autocommit=True) as connection:
                connection.execute(f"drop owned by {OWNER} cascade".encode())
                connection.execute(f"drop role {OWNER}".encode())


def test_this_release_is_kept() -> None:
    assert __version__ in versions()


def test_an_upgraded_release_is_what_a_fresh_database_is(restored: tuple[str, Database], database: Database) -> None:
    upgrade(restored[1])
    assert shapes(restored[1]) == shapes(database)


def test_an_upgraded_release_answers_as_it_did(restored: tuple[str, Database]) -> None:
    version, database = restored
    upgrade(database)
    with database.transaction() as connection:
        said = answers(connection)
    assert said == json.loads((FOLDER / f"{version}.json").read_text(encoding="utf-8"))


def shapes(database: Database) -> list[tuple[str, ...]]:
    """Definitions without rights, which the dump leaves out, and without the encoder's own partitions."""
    return [
        (kind, name, text)
        for kind, name, text in definitions(database, with_rights=False)
        if not re.search(r"embedding_\d+\b", name + text)
    ]
