"""What every command shares: consoles, the `--json` option, the open database."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from psycopg import sql
from pydantic import ValidationError
from rich.console import Console

from ehrdb.config import Settings
from ehrdb.database import Connection, Database, open_database
from ehrdb.errors import ConfigError
from ehrdb.schema import require_current

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of tables.")]
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", help="Use only what was known at this moment (inclusive). Default: everything."),
]
EncoderName = Annotated[
    str | None,
    typer.Option("--encoder", help="Encoder to use. Default: EHRDB_ENCODER, else the serving one."),
]


def settings() -> Settings:
    """The settings from the environment, or a ConfigError that names the variable."""
    try:
        return Settings()
    except ValidationError as error:
        names = ", ".join("EHRDB_" + str(problem["loc"][0]).upper() for problem in error.errors())
        raise ConfigError(f"{names} cannot be used", hint="See `ehrdb --help` for the settings.") from None


@contextmanager
def current_database() -> Iterator[Database]:
    """The configured database, checked to be at this program's version."""
    with open_database(settings()) as database:
        with database.transaction() as connection:
            require_current(connection)
        yield database


def select_cohort(connection: Connection, query: str | None) -> list[int] | None:
    """Patient ids that a user's SQL query selects, None for everybody. Raises ConfigError for any other query."""
    if query is None:
        return None
    try:
        row = connection.execute(
            sql.SQL("select array(select c::bigint from ({}) q (c))").format(sql.SQL(query))
        ).fetchone()
    except psycopg.Error as error:
        raise ConfigError(
            f"--cohort is not a query of patient ids ({type(error).__name__})",
            hint="For example: --cohort \"select patient_id from ehr.patient where birth_time < '1950-01-01'\".",
        ) from None
    assert row is not None
    return list(row[0])


def require_folder(*files: Path | None) -> None:
    """Raise ConfigError for a file that could not be written in the end, before the work begins."""
    for file in filter(None, files):
        folder = file.absolute().parent
        if not folder.is_dir():
            raise ConfigError(f"{folder} is not a folder", hint="Create it first.")
        if not os.access(file if file.exists() else folder, os.W_OK) or file.is_dir():
            raise ConfigError(f"{file} cannot be written", hint="Choose a file in a folder that is yours.")


def print_json(value: Any) -> None:
    """Print a value as JSON: data classes as objects, times as ISO 8601, durations in seconds."""
    typer.echo(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot print {type(value).__name__} as JSON")
