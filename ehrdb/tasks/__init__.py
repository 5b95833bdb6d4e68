"""Tasks: what is predicted, for whom, when. Declared in YAML, labelled in SQL."""

from ehrdb.tasks.labels import LabelResult, Task, benchmark_tasks, find_task, label
from ehrdb.tasks.site import add_task, declared, read_task, remove_task

__all__ = [
    "LabelResult",
    "Task",
    "add_task",
    "benchmark_tasks",
    "declared",
    "find_task",
    "label",
    "read_task",
    "remove_task",
]
