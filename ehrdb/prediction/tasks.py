"""The 15 tasks of the benchmark and a site's own; labelling them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from ehrdb.database import Connection, Database, require_whole
from ehrdb.errors import NotFound
from ehrdb.queries import Queries

_queries = Queries("ehrdb.prediction", "tasks.sql")
IMPORTED = "imported"
"""Shape of a task whose labels came from a file and stay as they are."""
Kind = Literal["binary", "multiclass", "multilabel", "survival"]
_KINDS: dict[str, Kind] = {"lab_class": "multiclass", "radiology_findings": "multilabel"}


@dataclass(frozen=True)
class Task:
    """A task's declaration. `rule` holds its shape and parameters; kind decides what a label's value means."""

    name: str
    group: str
    description: str
    rule: dict[str, Any]

    @property
    def question(self) -> str | None:
        """What encoders that follow instructions are asked, where a site's task says so."""
        return self.rule.get("question")

    @property
    def kind(self) -> Kind:
        """binary: 0 or 1; multiclass: 0 to 3, positive from 1; multilabel: 14 bits; survival: days, below 0 without."""
        imported: Kind | None = self.rule.get("kind")
        return imported or _KINDS.get(self.rule["shape"], "binary")


class Declares:
    """What a file can declare: a task, and what of the records here it asks for."""

    task: str

    def as_task(self) -> Task:
        """The task that SQL labels."""
        raise NotImplementedError

    def codes(self) -> list[str]:
        """Codes, with * for all that begin so."""
        return []

    def patterns(self) -> list[str]:
        """Regular expressions that codes fulfil."""
        return []

    def columns(self) -> list[str]:
        """Columns of events that only some data sets have."""
        return []

    def cohorts(self) -> list[int]:
        """OMOP cohorts that have members."""
        return []


@dataclass(frozen=True)
class LabelResult:
    """How many labels a task got, and how many of them are positive.

    `has_codes`: whether any event has one of the outcome's codes; None where it is no matter of codes.
    `in_open_stays`: questions without a label as their stay has no end yet; None where none waits for a discharge.
    """

    task: str
    labels: int
    positives: int
    has_codes: bool | None = None
    in_open_stays: int | None = None


@cache
def benchmark_tasks() -> dict[str, Task]:
    """The 15 tasks of EHRSHOT, by name."""
    declared = yaml.safe_load((files("ehrdb.prediction") / "tasks.yaml").read_text(encoding="utf-8"))
    return {
        name: Task(name, fields.pop("group"), fields.pop("description"), fields) for name, fields in declared.items()
    }


def find_task(connection: Connection, name: str) -> Task:
    """The task of that name, of the benchmark or the site's own. Raises NotFound with the names there are."""
    row = connection.execute(_queries.find_task, {"task": name}).fetchone()
    stored = Task(name, *row) if row else None
    if stored and (stored.rule["shape"] == IMPORTED or name not in benchmark_tasks()):
        return stored
    if name in benchmark_tasks():
        return benchmark_tasks()[name]
    own = [task for (task,) in connection.execute(_queries.site_tasks)]
    raise NotFound(
        f"there is no task {name}",
        hint=f"Tasks: {', '.join([*benchmark_tasks(), *own])}. A task of your own: `ehrdb task add`.",
    )


def label(database: Database, names: Sequence[str]) -> list[LabelResult]:
    """Replace the labels of these tasks by what their rules give now; all or nothing."""
    with database.transaction() as connection:
        require_whole(connection)
        return label_in(connection, names)


def label_in(connection: Connection, names: Sequence[str]) -> list[LabelResult]:
    """The same within a transaction of the caller's, who has required that nothing is hidden from it."""
    results = []
    for task in [find_task(connection, name) for name in names]:
        put_task(connection, task)
        row = connection.execute(_queries.label, {"task": task.name}).fetchone()
        assert row is not None
        results.append(LabelResult(task.name, *row))
    return results


def put_task(connection: Connection, task: Task) -> None:
    """Remember what a task is; labels and heads stay as they are."""
    values = {
        "task": task.name,
        "task_group": task.group,
        "kind": task.kind,
        "description": task.description,
        "declaration": json.dumps(task.rule),
    }
    connection.execute(_queries.put_task, values)
