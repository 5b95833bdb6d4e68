"""What every command shares: consoles, the `--json` option, the open database."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ehrdb.cohorts import keep, record
from ehrdb.config import Settings
from ehrdb.database import Database, open_database
from ehrdb.errors import ConfigError
from ehrdb.schema import require_current

if TYPE_CHECKING:
    from ehrdb.client import Client

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


out = PlainConsole(highlight=False)
err = PlainConsole(stderr=True, highlight=False)


class Beside(StrEnum):
    """What a head reads beside the vector."""

    COUNTS = "counts"


Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of tables.")]
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", help="Use only what was known at this moment (inclusive). Default: everything."),
]

At = Annotated[
    str | None,
    typer.Option(
        "--at",
        help="Index dates, each patient's own moment (inclusive): a SQL query of patients and moments, a table, a "
        "CSV or parquet file (of labels, say), or an OMOP cohort's id (the end of the day of entry).",
        callback=lambda value: not_empty(value),
    ),
]

CandidatesAt = Annotated[
    str | None,
    typer.Option(
        "--candidates-at",
        help="With --at: among whom, each as of a moment of their own, given likewise.",
        callback=lambda value: not_empty(value),
    ),
]

Cohort = Annotated[
    str | None, typer.Option(help="Only the patient ids that this SQL query selects, or of the OMOP cohort of this id.")
]
ToCohort = Annotated[
    int | None,
    typer.Option(help="Write who is found as this cohort_definition_id into the OMOP cohort table (results.cohort)."),
]


def keep_cohort(db: Client, to_cohort: int | None, patients: Sequence[int], as_of: datetime | None) -> None:
    """Write what `--to-cohort` asks for."""
    if to_cohort is not None:
        with db.database.transaction() as connection:
            keep(connection, to_cohort, patients, as_of)


def not_empty(value: str | None) -> str | None:
    """The value; an empty one, of a variable that is not set, say, is not taken for none."""
    if value is not None and not value.strip():
        raise typer.BadParameter("is empty: leave the option out, or say which")
    return value


def require_who(patient_id: int | None, at: str | None, of_one: object, hint: str) -> None:
    """A patient, or `--at` alone; `of_one`: an option that is meant for one patient, if one is given."""
    if (patient_id is None) == (at is None) or (at and of_one):
        raise ConfigError("name a patient, or --at, which says who and as of when", hint=hint)


EncoderName = Annotated[
    str | None,
    typer.Option("--encoder", help="Encoder to use. Default: EHRDB_ENCODER, else the serving one.", callback=not_empty),
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


def current_client() -> Client:
    """The configured database as the notebook has it, its tables as plain rows."""
    from ehrdb.client import connect  # brings numpy and all that asks with it: who asks nothing waits for none of it

    return connect(settings=settings(), frames="rows")


def require_folder(*files: Path | None) -> None:
    """Raise ConfigError for a file that could not be written in the end, before the work begins."""
    for file in filter(None, files):
        folder = file.absolute().parent
        if not folder.is_dir():
            raise ConfigError(f"{folder} is not a folder", hint="Create it first.")
        if not os.access(file if file.exists() else folder, os.W_OK) or file.is_dir():
            raise ConfigError(f"{file} cannot be written", hint="Choose a file in a folder that is yours.")


def show_rows(rows: Sequence[dict[str, Any]], json: bool) -> None:
    """A table of rows as they are, or their JSON."""
    if json:
        print_json(rows)
        return
    table = Table(show_edge=False)
    for name in rows[0] if rows else ["nothing"]:
        table.add_column(name, overflow="fold")  # a narrow terminal cuts no figure
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    out.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def print_json(value: Any) -> None:
    """Print a value as JSON: data classes as objects, times as ISO 8601, durations in seconds.

    Nothing in it is obeyed by a terminal: JSON has escapes for that.
    """
    text = json.dumps(value, default=_plain, ensure_ascii=False, indent=2)
    typer.echo(_OBEYED.sub(lambda found: f"\\u{ord(found.group()):04x}", text))


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
