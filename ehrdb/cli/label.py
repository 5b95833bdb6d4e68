"""`ehrdb label TASK...`."""

from __future__ import annotations

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
    for result in filter(is_suspicious, results):
        err.print(
            f"warning: {result.task} has no positive label: does this database code its outcome as the task does?"
            " (Its rule: table ehrdb.task, column declaration.)"
        )
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


def is_suspicious(result: LabelResult) -> bool:
    """Whether labels are all negative: as where records have ICD codes and the task looks for SNOMED."""
    return result.labels > 0 and result.positives == 0
