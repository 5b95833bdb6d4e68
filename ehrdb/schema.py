"""Bringing a database to this version: tables by Alembic once, views and functions whole every time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import psycopg
from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection as SqlalchemyConnection

from ehrdb.database import Connection, Database, driver_connection
from ehrdb.errors import DatabaseError, SchemaOutdated
from ehrdb.queries import Queries
from ehrdb.sql_files import in_order

MINIMUM_SERVER = 150_000
_LOCK = 0x65687264_62  # 'ehrdb': one upgrade at a time
_queries = Queries("ehrdb", "schema.sql")


@dataclass(frozen=True)
class SchemaState:
    """What a database holds: migration revision and digest of the applied sql/ files; None where absent."""

    revision: str | None
    sql_sha256: str | None


def upgrade(database: Database) -> bool:
    """Apply missing migrations and, if they changed, all of sql/; one transaction, all or nothing.

    Returns whether anything changed. Raises DatabaseError where the server cannot hold ehrdb.
    """
    with database.begin() as sqlalchemy_connection:
        connection = driver_connection(sqlalchemy_connection)
        _require_server(connection)
        connection.execute(_queries.lock, {"key": _LOCK})
        if state(connection) == wanted_state():
            return False
        connection.execute(_queries.create_schemas)
        _migrate(sqlalchemy_connection)
        _apply_sql(connection)
        connection.execute(_queries.write_state, {"sql_sha256": sql_digest()})
    return True


def require_current(connection: Connection) -> None:
    """Raise SchemaOutdated unless the database is at this program's version."""
    if state(connection) != wanted_state():
        raise SchemaOutdated(
            "the database's ehrdb schema is missing or of another version", hint="Run `ehrdb upgrade`."
        )


def state(connection: Connection) -> SchemaState:
    """The schema state that the database records."""
    found = connection.execute("select to_regclass('ehrdb.schema_state')").fetchone()
    if found is None or found[0] is None:
        return SchemaState(None, None)
    row = connection.execute(_queries.read_state).fetchone()
    return SchemaState(*row) if row else SchemaState(None, None)


def wanted_state() -> SchemaState:
    """The schema state that this program needs."""
    head = ScriptDirectory.from_config(_alembic_config()).get_current_head()
    return SchemaState(head, sql_digest())


def sql_digest() -> str:
    """sha-256 over the names and contents of all sql/ files, in the order they are applied."""
    digest = hashlib.sha256()
    for path in sql_files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def sql_files() -> list[Path]:
    """All files of sql/ in the order they are applied."""
    return in_order(project_path("sql").rglob("*.sql"))


def project_path(name: str) -> Path:
    """The folder `name` (migrations or sql): inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).parent
    installed = package / "_database" / name
    return installed if installed.is_dir() else package.parent / name


def run_beside(python_file: str) -> None:
    """Run the .sql file beside a migration, through psycopg so that `:` and `%` mean nothing."""
    sql = Path(python_file).with_suffix(".sql").read_bytes()
    driver_connection(op.get_bind()).execute(sql)


def _require_server(connection: Connection) -> None:
    version = connection.info.server_version
    if version < MINIMUM_SERVER:
        raise DatabaseError(
            f"the server is PostgreSQL {version // 10_000}; ehrdb needs 15 or later",
            hint="Upgrade the server or point EHRDB_DATABASE_URL at another.",
        )
    row = connection.execute(_queries.vector_extension).fetchone()
    available, schema, may_create = row if row else (False, None, False)
    if schema not in (None, "public"):
        raise DatabaseError(
            f"the extension vector lives in schema {schema}, ehrdb expects public",
            hint="Run: alter extension vector set schema public;",
        )
    if schema is None and not available:
        raise DatabaseError(
            "the server has no pgvector",
            hint="Install it (Debian: postgresql-NN-pgvector; see pgvector's README), then run this again.",
        )
    if schema is None and not may_create:
        raise DatabaseError(
            "this user may not create the extension vector",
            hint="As a superuser of this database, run: create extension vector schema public;",
        )


def _migrate(connection: SqlalchemyConnection) -> None:
    config = _alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(project_path("migrations")).replace("%", "%%"))
    return config


def _apply_sql(connection: Connection) -> None:
    for path in sql_files():
        try:
            connection.execute(path.read_bytes())
        except psycopg.Error as error:
            raise DatabaseError(f"{path.name} could not be applied: {error}") from error
