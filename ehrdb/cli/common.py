"""What every command shares: consoles, the `--json` option, the open database."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from psycopg import sql
from pydantic import ValidationError
from rich.console import Console
from rich.style import Style
from rich.text import Text

from ehrdb.config import Settings
from ehrdb.database import Connection, Database, open_database
from ehrdb.errors import ConfigError
from ehrdb.queries import Queries
from ehrdb.schema import require_current

# What a terminal obeys instead of showing: control characters but tab and line break, and those that turn the direction
# of what follows.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """The text with what a terminal would obey shown instead, as \\x1b."""
    return _OBEYED.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


class PlainConsole(Console):
    """Prints strings, in tables too, as they are: no markup, no emoji, no control characters. Style comes as Text."""

    def render_str(self, text: str, *, style: str | Style = "", **how: Any) -> Text:
        """The string as text; `how` else it might be read is of no account but for its place."""
        return Text(visible(text), style=style, justify=how.get("justify"), overflow=how.get("overflow"))


_queries = Queries("ehrdb.cli")
out = PlainConsole(highlight=False)
err = PlainConsole(stderr=True, highlight=False)

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
def current_database(asked: str | None = None, patients: Sequence[int] | None = None) -> Iterator[Database]:
    """The configured database, checked to be at this program's version.

    What is `asked` of it, and about which `patients`, is in the audit before it is answered.
    """
    with open_database(settings()) as database:
        with database.transaction() as connection:
            require_current(connection)
            if asked:
                record(connection, asked, patients=patients)
        yield database


def record(
    connection: Connection, what: str, *, patients: Sequence[int] | None = None, cohort_size: int | None = None
) -> None:
    """Add to the audit, where the database can be written to (a standby cannot)."""
    ids = None if patients is None else list(patients)
    connection.execute(_queries.record, {"what": what, "patients": ids, "cohort_size": cohort_size})


def select_cohort(connection: Connection, query: str | None) -> list[int] | None:
    """Patient ids that a user's SQL query selects, None for everybody. Raises ConfigError for any other query.

    One statement, read-only, with the caller's rights and names: whatever it does is rolled back.
    """
    if query is None:
        return None
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(_queries.ask_only)
            # In binary, because that protocol takes one statement alone; a comment at its end ends before the bracket.
            statement = sql.SQL("select array(select c::bigint from ({}\n) q (c))").format(sql.SQL(query))
            row = connection.execute(statement, binary=True).fetchone()
    except psycopg.Error as error:
        raise ConfigError(
            f"--cohort is not a query of patient ids ({type(error).__name__})",
            hint="For example: --cohort \"select patient_id from ehr.patient where birth_time < '1950-01-01'\".",
        ) from None
    assert row is not None
    record(connection, "cohort", cohort_size=len(row[0]))
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
