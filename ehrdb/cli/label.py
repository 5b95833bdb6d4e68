"""`ehrdb label TASK...`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.table import Table

from ehrdb.cli.common import Json, current_database, err, out, print_json
from ehrdb.prediction import LabelResult, benchmark_tasks
from ehrdb.prediction import label as label_tasks


def label(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks to label; none: all 15 of the benchmark.")] = None,
    json: Json = False,
) -> None:
    """Label tasks in SQL: who, when, with what outcome. Labels are replaced as a whole.

    Example: `ehrdb label guo_los guo_readmission`
    """
    with current_database() as database:
        results = label_tasks(database, tasks or list(benchmark_tasks()))
    for warning in warnings_of(results):
        err.print(f"warning: {warning}")
    for note in notes_of(results):
        err.print(note)
    show_labels(results, json)


def show_labels(results: list[LabelResult], json: bool) -> None:
    """Print how many labels tasks have."""
    if json:
        print_json(results)
        return
    table = Table("task", "labels", "positive", show_edge=False)
    for result in results:
        table.add_row(result.task, f"{result.labels:,}", f"{result.positives:,}")
    out.print(table)


def warnings_of(results: list[LabelResult]) -> Iterator[str]:
    """What is odd: tasks whose codes no event has, and labels that are all negative though some have."""
    if strange := [result.task for result in results if result.has_codes is False]:
        yield (
            f"no event has a code of {', '.join(strange)}, nor one below it: their labels say nothing."
            " Map your codes to them (`ehrdb load map --help`), then label again."
        )
    for result in results:
        if result.has_codes is not False and result.labels and not result.positives:
            yield (
                f"{result.task} has no positive label: does this database code its outcome as the task does?"
                " (Its rule: table ehrdb.task, column declaration.)"
            )


def notes_of(results: list[LabelResult]) -> Iterator[str]:
    """Whose outcome nobody can know yet."""
    for result in results:
        if result.in_open_stays:
            count = f"{result.in_open_stays:,}"
            yield f"{result.task}: {count} more are asked in stays without an end, so they have no label yet"
