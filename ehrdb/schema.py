"""Bringing a database to this version: tables by Alembic once, views and functions where they differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy.exc
from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection as SqlalchemyConnection
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from ehrdb import __version__
from ehrdb.database import Connection, Database, driver_connection
from ehrdb.errors import DatabaseError, SchemaBusy, SchemaNewer, SchemaOutdated
from ehrdb.queries import Queries
from ehrdb.sql_files import in_order
from ehrdb.sql_objects import bring_in_line, digest

MINIMUM_SERVER = 150_000
PATIENCE_SECONDS = 60
_LOCK = 0x65687264_62  # 'ehrdb': one upgrade at a time
_queries = Queries("ehrdb", "schema.sql")


@dataclass(frozen=True)
class SchemaState:
    """What a database holds: migration revision and digest of the applied sql/ files; None where absent."""

    revision: str | None
    sql_sha256: str | None


def upgrade(database: Database, *, force: bool = False, patience: float = PATIENCE_SECONDS) -> bool:
    """Apply missing migrations and what differs of sql/; one transaction, all or nothing.

    `force` applies all of sql/ again. Returns whether anything was applied. Other sessions are never kept waiting for
    more than a second at a time: where one holds what the upgrade needs, the upgrade steps back and tries again, for
    `patience` seconds. Raises DatabaseError where the server cannot hold ehrdb or users' own objects need what would
    be dropped, SchemaNewer on a database of a newer ehrdb, SchemaBusy where patience ends.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(SchemaBusy), wait=wait_fixed(2), stop=stop_after_delay(patience), reraise=True
    )
    return retrying(_upgrade_once, database, force)


def _upgrade_once(database: Database, force: bool) -> bool:
    with _holders_named(database), database.begin() as sqlalchemy_connection:
        connection = driver_connection(sqlalchemy_connection)
        _require_server(connection)
        connection.execute(_queries.hurried)
        connection.execute(_queries.lock, {"key": _LOCK})
        if state(connection) == wanted_state() and not force:
            return False
        _require_not_newer(connection)
        connection.execute(_queries.create_schemas)
        _migrate(sqlalchemy_connection)
        bring_in_line(connection, sql_files(), force=force)
        connection.execute(_queries.write_state, {"version": __version__, "sql_sha256": sql_digest()})
    return True


@contextmanager
def _holders_named(database: Database) -> Iterator[None]:
    """Say who holds it where a lock could not be had."""
    try:
        yield
    except (psycopg.OperationalError, sqlalchemy.exc.OperationalError) as error:
        cause = error.orig if isinstance(error, sqlalchemy.exc.OperationalError) else error
        if not isinstance(cause, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
            raise
        with database.transaction() as connection:
            rows = connection.execute(_queries.holders, {"key": _LOCK}).fetchall()
        holders = [f"session {pid} of {user}, since {since or 'unknown'}" for pid, user, since in rows]
        raise SchemaBusy(
            f"other sessions hold what the upgrade needs: {'; '.join(holders) or 'gone by now'}",
            hint="Nothing was changed. Try again when they have finished"
            + (f", or end one: select pg_terminate_backend({rows[0][0]});" if rows else "."),
        ) from None


def require_current(connection: Connection) -> None:
    """Raise SchemaOutdated, or SchemaNewer, unless the database is at this program's version."""
    if state(connection) != wanted_state():
        _require_not_newer(connection)
        raise SchemaOutdated(
            "the database's ehrdb schema is missing or of another version", hint="Run `ehrdb upgrade`."
        )


def state(connection: Connection) -> SchemaState:
    """The schema state that the database records."""
    revision, _, sql_sha256 = _recorded(connection)
    return SchemaState(revision, sql_sha256)


def wanted_state() -> SchemaState:
    """The schema state that this program needs."""
    return SchemaState(_revisions()[0], sql_digest())


def sql_digest() -> str:
    """sha-256 over the names and digests of all sql/ files, in the order they are applied."""
    return hashlib.sha256("".join(f"{path.name} {digest(path)}\n" for path in sql_files()).encode()).hexdigest()


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


def _recorded(connection: Connection) -> tuple[str | None, str | None, str | None]:
    """Revision, version and digest of sql/; None where there are none."""
    found = connection.execute("select to_regclass('ehrdb.schema_state')").fetchone()
    row = connection.execute(_queries.read_state).fetchone() if found and found[0] else None
    return row or (None, None, None)


def _require_not_newer(connection: Connection) -> None:
    revision, version, _ = _recorded(connection)
    if revision and (revision not in _revisions() or _number(version or "0") > _number(__version__)):
        raise SchemaNewer(
            f"the database is of ehrdb {version or 'of unknown version'} (tables {revision}), newer than this program, "
            f"{__version__}",
            hint="Update this program: pip install --upgrade ehrdb.",
        )


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


def _revisions() -> list[str]:
    """All migrations that this program knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_alembic_config()).walk_revisions()]


def _migrate(connection: SqlalchemyConnection) -> None:
    config = _alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(project_path("migrations")).replace("%", "%%"))
    return config
