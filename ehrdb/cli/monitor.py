"""`ehrdb monitor`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer
from rich.table import Table

from ehrdb.cli.common import EncoderName, Json, current_client, err, out, print_json, settings
from ehrdb.cli.refresh import progress_bar
from ehrdb.client import Client
from ehrdb.embedding import registry
from ehrdb.embedding.load import load_encoder
from ehrdb.errors import NotFound
from ehrdb.queries import Queries

_queries = Queries("ehrdb.cli")
EXPECTED, FEW = "as expected", "too few"


def monitor(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks with a head; none: all.")] = None,
    encoder: EncoderName = None,
    update: Annotated[
        bool, typer.Option("--update", help="First label the tasks anew, and embed what is new as of its moments.")
    ] = False,
    json: Json = False,
) -> None:
    """Compare what heads predicted with what came about, month by month; say where inputs drift.

    Only labels count that a head has not learned from. What is found is kept for a worker's metrics, where this role
    may. Exit status 1: a task's newest month that can be judged is not as expected.

    Example (crontab, once a month): `ehrdb monitor --update --json`
    """
    encoder = encoder or settings().encoder
    with current_client() as db:
        names = tasks or _with_heads(db, encoder)
        if update:
            _update(db, names, encoder)
        rows: list[dict[str, Any]] = list(db.monitor(names, encoder))
        _keep(db, names, encoder)
    newest = {row["task"]: row for row in rows if row["verdict"] != FEW}
    alarms = {task: row for task, row in newest.items() if row["verdict"] != EXPECTED}
    if json:
        print_json({"months": rows, "alarms": list(alarms)})
    else:
        out.print(_table(rows))
        for task in dict.fromkeys(row["task"] for row in rows):
            row = newest.get(task)
            err.print(
                f"{task}: " + (f"{row['verdict']} in {row['month']:%Y-%m}" if row else "too few to judge any month")
            )
    if alarms:
        raise typer.Exit(1)


def _with_heads(db: Client, encoder: str | None) -> list[str]:
    with db.database.transaction() as connection:
        found = [task for (task,) in connection.execute(_queries.monitored_tasks, {"encoder": encoder})]
    if not found:
        raise NotFound("the encoder has no heads", hint="Run `ehrdb train TASK`.")
    return found


def _update(db: Client, tasks: list[str], encoder: str | None) -> None:
    # Imported here: scikit-learn takes a second that other commands need not wait for.
    from ehrdb.prediction.training import embed_labels

    with db.database.transaction() as connection:
        registered = registry.find(connection, encoder)
    for task in tasks:
        with progress_bar(f"embedding for {task}") as report:
            load = partial(load_encoder, settings())
            embed_labels(db.database, registered, load, task, progress=report.update)


def _keep(db: Client, tasks: list[str], encoder: str | None) -> None:
    with db.database.transaction() as connection:
        may = connection.execute(_queries.may_keep_months).fetchone()
        if may and may[0]:
            connection.execute(_queries.keep_months, {"tasks": tasks, "encoder": encoder})


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("task", show_edge=False)
    for heading in ("month", "labels", "predicted", "observed", "PSI", "unknown"):
        table.add_column(heading, no_wrap=True)
    table.add_column("verdict")
    for row in rows:
        figures = (row[name] for name in ("predicted", "observed", "population_stability", "unknown_codes"))
        shown = ("-" if figure is None else f"{figure:.3f}" for figure in figures)
        table.add_row(row["task"], f"{row['month']:%Y-%m}", f"{row['labels']:,}", *shown, row["verdict"])
    return table
