"""`ehrdb timeline`."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from rich.text import Text

from ehrdb.cli.common import AsOf, At, Json, current_client, err, out, print_json, require_who, visible
from ehrdb.timeline import Timeline

_HEADING = re.compile(r"^#{1,4} .*$", re.MULTILINE)
_COLOURS = {1: "bold magenta", 2: "bold cyan", 3: "bold yellow", 4: "bold green"}


def timeline(
    patient_id: Annotated[int | None, typer.Argument(help="patient_id, as in ehr.patient; none with --at")] = None,
    as_of: AsOf = None,
    at: At = None,
    format: Annotated[
        str, typer.Option("--format", help="A name of the view ehr.format, or json, yaml or xml.")
    ] = "list_recent",
    days: Annotated[float | None, typer.Option(help="Only events of that many days before the moment.", min=0)] = None,
    max_chars: Annotated[
        int | None, typer.Option(help="Leave out lines that begin after so many characters.", min=1)
    ] = None,
    json: Json = False,
) -> None:
    """Show a patient's record as text, as an encoder reads it; or those of many, each as of a moment of their own.

    Example: `ehrdb timeline 1 --as-of 2020-01-01 --format markdown`

    Example: `ehrdb timeline --at cases.csv --json`: rows of patient_id and as_of
    """
    require_who(patient_id, at, as_of, "ehrdb timeline 1 --as-of 2020-01-01, or ehrdb timeline --at cases.csv")
    if patient_id is None:
        with current_client() as db:
            rows = db.timelines_at(at, format, days=days, max_chars=max_chars)
        _show_all(rows, json)
        return
    with current_client() as db:
        found = db.timeline(patient_id, as_of, format, days=days, max_chars=max_chars)
    if json:
        print_json({"patient_id": patient_id, "as_of": as_of, "format": format, **vars(found)})
    elif not found.text:
        when = f"at or before {as_of}" if as_of else "at all"
        when += f", within {days:g} days" if days is not None else ""
        err.print(f"patient {patient_id} has nothing {when} that {format} shows")
    else:
        _show(found, coloured=format.startswith("markdown"))


def _show_all(rows: list[dict[str, Any]], json: bool) -> None:
    if json:
        print_json(rows)
        return
    for row in rows:
        out.print(f"patient {row['patient_id']}, as known at {row['as_of']:%Y-%m-%d %H:%M}", style="bold")
        typer.echo(visible(row["text"]) + "\n" if row["text"] else "nothing is known by then\n")


def _show(found: Timeline, *, coloured: bool) -> None:
    """Paged on a terminal; elsewhere the bare text, so that it can be piped."""
    if not out.is_terminal:
        typer.echo(found.text)
        return
    with out.pager(styles=True):
        text = visible(found.text)
        out.print(colour_headings(text) if coloured else text, soft_wrap=True)
        if found.lines_cut:
            out.print(f"({found.lines_cut} lines cut)", style="dim")


def colour_headings(markdown: str) -> Text:
    """The text as it is, its headings coloured by level."""
    text = Text(markdown)
    for heading in _HEADING.finditer(markdown):
        level = len(heading.group()) - len(heading.group().lstrip("#"))
        text.stylize(_COLOURS[level], *heading.span())
    return text
