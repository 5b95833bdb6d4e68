"""Bringing a database to this version: tables by Alembic once, views and functions whole every time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg.errors import Diagnostic
from psycopg.sql import Identifier
from psycopg.types.json import Jsonb
from sqlalchemy import Connection as SqlalchemyConnection

from ehrdb.bootstrap import create_extension, require_server
from ehrdb.database import Connection, Database, driver_connection, extension_schema
from ehrdb.errors import DatabaseError, SchemaOutdated
from ehrdb.queries import Queries
from ehrdb.sql_files import in_order

_EXTENSION_SCHEMA = re.compile(rb"\bpublic(?=\.[\w<|])")
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
    tell: Callable[[str], None] = lambda notice: None,
) -> bool:
    """Apply missing migrations and, if they changed, all of sql/; one transaction, all or nothing.

    With `force`, sql/ is applied in any case. Grants are made each time: a role may have come since. `roles` is what
    the names of the roles begin with, from now on (at first: ehr, as in ehr_analyst). `tell` is called with what the
    database has to say on the way. Returns whether anything changed. Raises DatabaseError where the server cannot hold
    ehrdb or this role may not do that, with the SQL for who may.
    """
    with database.begin() as sqlalchemy_connection:
        connection = driver_connection(sqlalchemy_connection)
        connection.add_notice_handler(lambda diagnosis: _pass_on(diagnosis, tell))
        require_server(connection)
        connection.execute(_queries.lock, {"key": _LOCK})
        create_extension(connection)
        if not force and state(connection) == wanted_state(connection):
            connection.execute(_queries.choose_roles, {"roles": roles})
            connection.execute(_queries.keep_roles)
            connection.execute(sql_as_applied(_grants(), extension_schema(connection)))
            return False
        connection.execute(_queries.create_schemas)
        connection.execute(_queries.choose_roles, {"roles": roles})
        _migrate(sqlalchemy_connection)
        _apply_sql(connection)
        applied = {"sql_sha256": wanted_state(connection).sql_sha256, "objects": Jsonb(objects(connection))}
        connection.execute(_queries.write_state, applied)
    return True


def require_current(connection: Connection) -> None:
    """Raise SchemaOutdated unless the database is at this program's version."""
    found = state(connection)
    if found.revision is None or found != wanted_state(connection):
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
    head = ScriptDirectory.from_config(_alembic_config()).get_current_head()
    return SchemaState(head, sql_digest(extension_schema(connection)))


def sql_digest(schema: Identifier) -> str:
    """sha-256 over the names and contents of all sql/ files, as they are applied."""
    digest = hashlib.sha256()
    for path in sorted(project_path("sql").rglob("*.sql")):
        digest.update(path.name.encode() + b"\0" + sql_as_applied(path, schema) + b"\0")
    return digest.hexdigest()


def sql_files() -> list[Path]:
    """All files of sql/ in the order they are applied: grants last."""
    grants = _grants()
    return [*in_order(path for path in project_path("sql").rglob("*.sql") if path != grants), grants]


def sql_as_applied(path: Path, schema: Identifier) -> bytes:
    """A file of sql/ or migrations/ for a database where the extension vector lives in `schema`.

    The files say `public`, where it is by default: `public.halfvec`, `operator(public.<=>)`.
    """
    return _EXTENSION_SCHEMA.sub(schema.as_bytes().replace(b"\\", rb"\\"), path.read_bytes())


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
    connection = driver_connection(op.get_bind())
    connection.execute(sql_as_applied(Path(python_file).with_suffix(".sql"), extension_schema(connection)))


def _migrate(connection: SqlalchemyConnection) -> None:
    config = _alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(project_path("migrations")).replace("%", "%%"))
    return config


def _apply_sql(connection: Connection) -> None:
    schema = extension_schema(connection)
    for path in sql_files():
        try:
            connection.execute(sql_as_applied(path, schema))
        except psycopg.Error as error:
            raise DatabaseError(f"{path.name} could not be applied: {error}") from error
