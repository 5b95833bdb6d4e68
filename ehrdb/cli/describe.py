"""`ehrdb describe`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from ehrdb.cli.common import Json, current_database, out, print_json
from ehrdb.prediction.describe import describe as description_of


def describe(
    tasks: Annotated[
        list[str] | None, typer.Argument(help="Tasks whose labels to count; none: all that have any.")
    ] = None,
    json: Json = False,
) -> None:
    """Count patients, labels and codes: a study's first tables.

    Patients by split, labels by task and split (as `ehrdb label` left them), and events by the paper's categories.
    Of small cohorts these figures may tell of somebody: they are for who may read the records.

    Example: `ehrdb describe guo_los guo_readmission`
    """
    with current_database() as database:
        found = description_of(database, tasks or [])
    if json:
        print_json(found)
        return
    for name, rows in asdict(found).items():
        if rows:
            out.print(_table(name, rows))


def _table(name: str, rows: list[dict[str, Any]]) -> Table:
    """A column for each figure."""
    table = Table(*(column.replace("_", " ") for column in rows[0]), title=name, title_justify="left", show_edge=False)
    for row in rows:
        table.add_row(*map(_shown, row.values()))
    return table


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
