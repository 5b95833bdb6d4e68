"""`ehrdb task add | list | show | remove`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml
from psycopg.rows import dict_row
from rich.table import Table

from ehrdb.cli.common import Json, current_database, err, out, print_json
from ehrdb.database import Connection, require_whole
from ehrdb.errors import ConfigError, InputError
from ehrdb.prediction import (
    Declares,
    add_task,
    benchmark_tasks,
    between_cohorts,
    declared,
    find_task,
    read_aces,
    read_task,
    remove_task,
    uk_biobank_tasks,
)
from ehrdb.queries import Queries

app = typer.Typer(no_args_is_help=True, help="Tasks: the benchmark's 15 and your own.")
_queries = Queries("ehrdb.prediction", "tasks.sql")
TaskName = Annotated[str, typer.Argument(help="Name of a task")]


@app.command()
def add(
    file: Annotated[Path | None, typer.Argument(help="YAML file that declares the task (docs/tasks.md)")] = None,
    aces: Annotated[Path | None, typer.Option(help="Instead: a task configuration of ACES.")] = None,
    predicates: Annotated[
        Path | None, typer.Option(help="With --aces: a file whose predicates replace its own.")
    ] = None,
    target: Annotated[
        int | None, typer.Option(help="Instead: a target cohort of OMOP, by its cohort_definition_id.", min=0)
    ] = None,
    outcome: Annotated[
        int | None, typer.Option(help="With --target: the outcome cohort; time at risk: days 1 to 365.", min=0)
    ] = None,
    task: Annotated[str | None, typer.Option(help="With --aces or --target: the task's name.")] = None,
    uk_biobank: Annotated[
        int | None,
        typer.Option(help="Instead: the paper's 25 tasks of the UK Biobank, asked at entry into this cohort.", min=0),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a task of this name, its labels and heads.")
    ] = False,
) -> None:
    """Add a task of your own; then label, train and evaluate it like the others.

    Example: `ehrdb task add icu_mortality.yaml`, then `ehrdb label icu_mortality`

    Example: `ehrdb task add --aces readmission.yaml --predicates mimic.yaml`

    Example: `ehrdb task add --target 101 --outcome 102 --task stroke_1y`

    Example: `ehrdb task add --uk-biobank 101`

    A file: `{task: icu_mortality, description: Dies in hospital, prediction_time: {event: icu, offset_hours: 24},
    outcome: {event: death, until: discharge}}`
    """
    declarations = _declarations(file, aces, predicates, target, outcome, task, uk_biobank)
    with current_database() as database, database.transaction() as connection:
        require_whole(connection)
        missing = [code for each in declarations for code in _added(connection, each, file or aces, replace)]
    for code in missing:
        err.print(f"warning: the records here have no code {code}")
    for each in declarations:
        err.print(f"task {each.task} added: run `ehrdb label {each.task}`")


def _added(connection: Connection, declaration: Declares, file: Path | None, replace: bool) -> list[str]:
    """Add one; returns which of its codes nobody has. Raises InputError where nobody has any."""
    missing = add_task(connection, declaration, replace=replace)
    named = declaration.codes() + declaration.patterns()
    if missing and len(missing) == len(named):
        raise InputError(
            f"the records here have none of its codes ({', '.join(missing[:5])})",
            file=file,
            hint="Codes are VOCABULARY/code: select code from ehr.concept where description ilike '%sepsis%';",
        )
    return missing


def _declarations(
    file: Path | None,
    aces: Path | None,
    predicates: Path | None,
    target: int | None,
    outcome: int | None,
    task: str | None,
    uk_biobank: int | None,
) -> Sequence[Declares]:
    """What one of the four ways declares."""
    if sum(way is not None for way in (file, aces, target, uk_biobank)) != 1:
        raise ConfigError(
            "name a file, --aces and a file, --target and --outcome, or --uk-biobank and a cohort",
            hint="For example: ehrdb task add icu_mortality.yaml",
        )
    if (
        (predicates and not aces)
        or (task and not (aces or target is not None))
        or ((target is None) != (outcome is None))
    ):
        raise ConfigError(
            "--predicates goes with --aces, --outcome with --target, --task with either", hint="See docs/tasks.md."
        )
    if aces:
        return [read_aces(aces, predicates, task=task)]
    if target is not None and outcome is not None:
        return [between_cohorts(target, outcome, task or f"cohort_{outcome}_after_{target}")]
    if uk_biobank is not None:
        return uk_biobank_tasks(uk_biobank)
    assert file is not None
    return [read_task(file)]


@app.command("list")
def list_(json: Json = False) -> None:
    """List all tasks with their labels and heads.

    Example: `ehrdb task list`
    """
    with current_database() as database, database.transaction() as connection:
        rows = connection.cursor(row_factory=dict_row).execute(_queries.tasks).fetchall()
    known = {row["task"]: row for row in rows}
    unlabelled = [
        {"task": task.name, "task_group": task.group, "description": task.description}
        for task in benchmark_tasks().values()
        if task.name not in known
    ]
    tasks = sorted([*rows, *unlabelled], key=lambda row: (row["task_group"], row["task"]))
    if json:
        print_json([{"labels": 0, "positives": 0, "heads": 0, **row} for row in tasks])
        return
    table = Table("task", "group", "labels", "positive", "heads", show_edge=False)
    for row in tasks:
        counts = (f"{row.get(name, 0):,}" for name in ("labels", "positives", "heads"))
        table.add_row(row["task"], row["task_group"], *counts)
    out.print(table)


@app.command()
def show(task: TaskName) -> None:
    """Print a task's declaration as YAML; of your own tasks, what `ehrdb task add` takes.

    Example: `ehrdb task show icu_mortality > icu_mortality.yaml`
    """
    with current_database() as database, database.transaction() as connection:
        found = find_task(connection, task)
    typer.echo(yaml.safe_dump(declared(found), sort_keys=False, allow_unicode=True, width=120), nl=False)


@app.command()
def remove(task: TaskName, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Remove a task of your own with its labels and heads.

    Example: `ehrdb task remove icu_mortality --yes`
    """
    if not yes:
        typer.confirm(f"Remove {task}, its labels and heads?", abort=True)
    with current_database() as database, database.transaction() as connection:
        require_whole(connection)
        remove_task(connection, task)
    err.print(f"task {task} removed")
