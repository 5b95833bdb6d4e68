"""Tasks: what is predicted, for whom, when. Declared in YAML, labelled in SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from ehrdb.database import Database
from ehrdb.errors import NotFound
from ehrdb.queries import Queries

_queries = Queries("ehrdb.tasks")
_KINDS = {"lab_class": "multiclass", "radiology_findings": "multilabel"}


@dataclass(frozen=True)
class Task:
    """A task's declaration. `rule` holds its shape and parameters; kind decides what a label's value means."""

    name: str
    group: str
    description: str
    rule: dict[str, Any]

    @property
    def kind(self) -> Literal["binary", "multiclass", "multilabel"]:
        """binary: 0 or 1; multiclass: 0 to 3, positive from 1; multilabel: 14 bits."""
        return _KINDS.get(self.rule["shape"], "binary")  # type: ignore[return-value]


@dataclass(frozen=True)
class LabelResult:
    """How many labels a task got, and how many of them are positive."""

    task: str
    labels: int
    positives: int


@cache
def benchmark_tasks() -> dict[str, Task]:
    """The 15 tasks of EHRSHOT, by name."""
    declared = yaml.safe_load((files("ehrdb.tasks") / "tasks.yaml").read_text(encoding="utf-8"))
    return {
        name: Task(name, fields.pop("group"), fields.pop("description"), fields) for name, fields in declared.items()
    }


def find_task(name: str) -> Task:
    """The task of that name. Raises NotFound with the names there are."""
    tasks = benchmark_tasks()
    if name not in tasks:
        raise NotFound(f"there is no task {name}", hint=f"Tasks: {', '.join(tasks)}.")
    return tasks[name]


def label(database: Database, names: Sequence[str]) -> list[LabelResult]:
    """Replace the labels of these tasks by what their rules give now; all or nothing."""
    tasks = [find_task(name) for name in names]
    with database.transaction() as connection:
        results = []
        for task in tasks:
            connection.execute(_queries.put_task, _columns(task))
            row = connection.execute(_queries.label, {"task": task.name}).fetchone()
            assert row is not None
            results.append(LabelResult(task.name, *row))
    return results


def _columns(task: Task) -> dict[str, str]:
    return {
        "task": task.name,
        "task_group": task.group,
        "kind": task.kind,
        "description": task.description,
        "declaration": json.dumps(task.rule),
    }
