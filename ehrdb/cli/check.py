"""`ehrdb check omop | meds | ehrshot | fhir`: the options of `ehrdb load`, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ehrdb.check import Check, Load, check
from ehrdb.cli.check_report import check_sections, page, show_sections
from ehrdb.cli.common import Json, current_database, err, print_json, require_folder
from ehrdb.cli.load import SOURCES, with_options
from ehrdb.private import private

app = typer.Typer(no_args_is_help=True, help="Read a source as a load would, write nothing, and say what is in it.")
Html = Annotated[Path | None, typer.Option(help="Write the whole report as a page into this file.")]


def _check_command(read: Callable[..., Load]) -> Callable[..., None]:
    def command(*, html: Path | None, json: bool, **options: Any) -> None:
        require_folder(html)
        chosen = read(**options)
        with current_database() as database:
            found = check(database, chosen)
        if html is not None:
            private(html).write_text(page(_title(found), check_sections(found, whole=True)), encoding="utf-8")
        _show(found, json)

    command.__doc__ = (read.__doc__ or "").replace("ehrdb load", "ehrdb check").replace("Load ", "Look into ", 1)
    return command


def _show(found: Check, json: bool) -> None:
    if json:
        print_json(found)
        return
    show_sections(check_sections(found, whole=False))
    load = found.load
    err.print(
        f"nothing was written; a load would bring {load.new:,} new and {load.changed:,} changed patients, leave "
        f"{load.unchanged:,} as they are and remove {load.removed:,}"
    )


def _title(found: Check) -> str:
    return f"Check of source {found.load.source}"


for read in SOURCES:
    app.command(read.__name__)(with_options(_check_command(read), read, html=Html, json=Json))
