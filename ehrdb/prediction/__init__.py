"""Prediction: tasks (declared in YAML, labelled in SQL), their labels in files, and heads trained on them."""

from ehrdb.prediction.aces import AcesTask, read_aces
from ehrdb.prediction.cohort_task import CohortDeclaration, between_cohorts
from ehrdb.prediction.site import Declaration, add_task, declared, read_task, remove_task
from ehrdb.prediction.tasks import Declares, LabelResult, Task, benchmark_tasks, find_task, label
from ehrdb.prediction.uk_biobank import uk_biobank_tasks

__all__ = [
    "AcesTask",
    "CohortDeclaration",
    "Declaration",
    "Declares",
    "LabelResult",
    "Task",
    "add_task",
    "benchmark_tasks",
    "between_cohorts",
    "declared",
    "find_task",
    "label",
    "read_aces",
    "read_task",
    "remove_task",
    "uk_biobank_tasks",
]
