"""Bringing a database to this version: tables by Alembic once, views and functions where they differ."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg
import sqlalchemy.exc
from psycopg.errors import Diagnostic
from psycopg.sql import Identifier
from psycopg.types.json import Jsonb
from sqlalchemy import Connection as SqlalchemyConnection
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from ehrdb import __version__
from ehrdb.bootstrap import create_extension, require_roles, require_server
from ehrdb.database import Connection, Database, driver_connection, extension_schema
from ehrdb.errors import SchemaBusy, SchemaNewer, SchemaOutdated
from ehrdb.queries import Queries
from ehrdb.sql_files import as_applied, in_order
from ehrdb.sql_objects import bring_in_line

PATIENCE_SECONDS = 60
_LOCK = 0x65687264_62  # 'ehrdb': one upgrade at a time
_queries = Queries("ehrdb", "schema.sql")


@dataclass(frozen=True)
class SchemaState:
    """What a database holds: migration revision and digest of the applied sql/ files; None where absent."""

    revision: str | None
    sql_sha256: str | None


def upgrade(
    database: Database,
    *,
    force: bool = False,
    roles: str | None = None,
    patience: float = PATIENCE_SECONDS,
    tell: Callable[[str], None] = lambda notice: None,
) -> bool:
    """Apply missing migrations and what differs of sql/; one transaction, all or nothing.

    With `force`, all of sql/ is applied in any case. Grants are made each time: a role may have come since. `roles` is
    what the names of the roles begin with, from now on (at first: ehr, as in ehr_analyst). Where another session holds
    what is needed, the upgrade steps back after a second, so that nobody queues behind it, and tries again for
    `patience` seconds. `tell` is called with what the database has to say on the way. Returns whether anything changed.
    Raises DatabaseError where the server cannot hold ehrdb, where this role may not do that (with the SQL for who may),
    or where users' own objects need what would be dropped; SchemaNewer on a database of a newer ehrdb; SchemaBusy where
    patience ends.
    """
    if roles is not None:
        require_roles(roles)
    retrying = Retrying(
        retry=retry_if_exception_type(SchemaBusy), wait=wait_fixed(2), stop=stop_after_delay(patience), reraise=True
    )
    return retrying(_upgrade_once, database, force, roles, tell)


def _upgrade_once(database: Database, force: bool, roles: str | None, tell: Callable[[str], None]) -> bool:
    with _holders_named(database), database.begin() as sqlalchemy_connection:
        connection = driver_connection(sqlalchemy_connection)
        connection.add_notice_handler(lambda diagnosis: _pass_on(diagnosis, tell))
        require_server(connection)
        connection.execute(_queries.hurried)
        connection.execute(_queries.lock, {"key": _LOCK})
        connection.execute(_queries.lock_state)
        create_extension(connection)
        is_needed = force or state(connection) != wanted_state(connection)
        if is_needed:
            _require_not_newer(connection)
            connection.execute(_queries.create_schemas)
            _migrate(sqlalchemy_connection)
            bring_in_line(connection, sql_files(), extension_schema(connection), force=force)
        connection.execute(_queries.choose_roles, {"roles": roles})
        connection.execute(as_applied(_grants(), extension_schema(connection).as_bytes()))
        if is_needed:
            _write_state(connection)
        connection.execute(_queries.keep_roles)
    return is_needed


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
    found = state(connection)
    if found.revision is None or found != wanted_state(connection):
        _require_not_newer(connection)
        raise SchemaOutdated(
            "the database's ehrdb schema is missing or of another version", hint="Run `ehrdb upgrade`."
        )


def state(connection: Connection) -> SchemaState:
    """The schema state that the database records."""
    revision, _, sql_sha256 = _recorded(connection)
    return SchemaState(revision, sql_sha256)


def objects(connection: Connection) -> dict[str, str]:
    """Everything in the two schemas by name, each with a digest of its definition; partitions left out."""
    row = connection.execute(_queries.objects).fetchone()
    return dict(row[0]) if row else {}


def differences(connection: Connection) -> list[tuple[str, str]]:
    """Objects that are missing or not as the last upgrade left them; each with which of the two."""
    row = connection.execute(_queries.applied_objects).fetchone()
    applied: dict[str, str] = row[0] if row else {}
    found = objects(connection)
    return [
        (name, "missing" if name not in found else "differs")
        for name, digest in sorted(applied.items())
        if found.get(name) != digest
    ]


def wanted_state(connection: Connection) -> SchemaState:
    """The schema state that this program needs in this database: another schema of the extension is another state."""
    return SchemaState(_revisions()[0], sql_digest(extension_schema(connection)))


def sql_digest(schema: Identifier) -> str:
    """sha-256 over the names and contents of all sql/ files, as they are applied."""
    return _digest(tuple(sorted(_changed(project_path("sql")))), schema.as_bytes())


def _changed(folder: str | Path) -> Iterator[tuple[str, int]]:
    """The .sql files below a folder, and when each was changed: every command asks, and Path.rglob takes its time."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _changed(entry.path)
            elif entry.name.endswith(".sql"):
                yield entry.path, entry.stat().st_mtime_ns


@cache
def _digest(files: tuple[tuple[str, int], ...], schema: bytes) -> str:
    """That of files as they were at these moments: a program that asks often reads them once."""
    digest = hashlib.sha256()
    for path in (Path(name) for name, _ in files):
        digest.update(path.name.encode() + b"\0" + as_applied(path, schema) + b"\0")
    return digest.hexdigest()


def sql_files() -> list[Path]:
    """The files of sql/ that create something, in the order they are applied; grants come after them."""
    return in_order(path for path in project_path("sql").rglob("*.sql") if path != _grants())


def _grants() -> Path:
    return project_path("sql") / "grants.sql"


def _pass_on(diagnosis: Diagnostic, tell: Callable[[str], None]) -> None:
    """Notices of our own and warnings; not what PostgreSQL says about each thing that is there already."""
    if diagnosis.sqlstate == "00000" or diagnosis.severity_nonlocalized == "WARNING":
        tell(diagnosis.message_primary or "")


def project_path(name: str) -> Path:
    """The folder `name` (migrations or sql): inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).parent
    installed = package / "_database" / name
    return installed if installed.is_dir() else package.parent / name


def run_beside(python_file: str) -> None:
    """Run the .sql file beside a migration, through psycopg so that `:` and `%` mean nothing."""
    from alembic import op

    connection = driver_connection(op.get_bind())
    connection.execute(as_applied(Path(python_file).with_suffix(".sql"), extension_schema(connection).as_bytes()))


def _write_state(connection: Connection) -> None:
    values = {
        "version": __version__,
        "sql_sha256": wanted_state(connection).sql_sha256,
        "objects": Jsonb(objects(connection)),
    }
    connection.execute(_queries.write_state, values)


def _recorded(connection: Connection) -> tuple[str | None, str | None, str | None]:
    """Revision, version and digest of sql/; None where there are none."""
    found = connection.execute("select to_regclass('ehrdb.schema_state')").fetchone()
    row = connection.execute(_queries.read_state).fetchone() if found and found[0] else None
    return row or (None, None, None)


def _require_not_newer(connection: Connection) -> None:
    revision, version, _ = _recorded(connection)
    if revision and (revision not in _revisions() or _number(version or "0") > _number(__version__)):
        raise SchemaNewer(
            f"the database is of ehrdb {version or '(unknown version)'} (tables {revision}), newer than this program, "
            f"{__version__}, or was made before the first release, 0.1.0",
            hint="Update this program: pip install --upgrade ehrdb. Where that is no newer, load the records anew "
            "into an empty database.",
        )


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


@cache
def _revisions() -> list[str]:
    """All migrations that this program knows, the newest first: each file's name begins with its own."""
    files = (project_path("migrations") / "versions").glob("*.py")
    return sorted((path.stem.partition("_")[0] for path in files), reverse=True)


def _migrate(connection: SqlalchemyConnection) -> None:
    # Every command looks at this module, and only an upgrade needs Alembic.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(project_path("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
