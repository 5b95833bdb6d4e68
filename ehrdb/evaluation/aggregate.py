"""Means over tasks and groups of tasks, with the paper's intervals (Tables 3, 5 and 6; `10_cis.py`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ehrdb.prediction.bootstrap import Estimate

GROUPS = {
    "guo_": "Operational outcomes",
    "lab_": "Anticipating lab test results",
    "new_": "Assignment of new diagnoses",
    "chex": "Anticipating chest X-ray findings",
    "ukb_death": "Mortality",
    "ukb_hospitalization": "Hospitalization",
    "ukb_": "Onset of diseases",
}
"""What a group is called, by how the names of its tasks begin; the first that fits counts."""
OTHER = "other"
MACRO = "macro"


@dataclass(frozen=True)
class Mean:
    """A mean over tasks with its standard deviation and 95 % interval."""

    mean: float
    sd: float
    lower: float
    upper: float


def group_of(task: str) -> str:
    """A task's group, one of the paper's by how its name begins, else `other`."""
    return next((group for group in GROUPS if task.startswith(group)), OTHER)


def group_name(group: str) -> str:
    """A group in words."""
    return {**GROUPS, OTHER: "Other tasks", MACRO: "Mean of the groups"}[group]


def family_of(task: str) -> str:
    """The task that a target is of: the findings of X-rays are one."""
    return "chexpert" if group_of(task) == "chex" else task


def in_group_means(task: str, k: int) -> bool:
    """Whether a task counts at this k: celiac disease does not at 128, more than its positives."""
    return not (task == "new_celiac" and k >= 128)


def group_means(estimates: Mapping[str, Estimate]) -> dict[str, Mean]:
    """Mean of every group's tasks and, under `macro`, of the groups; `estimates` by task, of one k.

    A group's tasks count as independent. The macro SD is the root of the mean of the group variances, twice
    what independent groups would have: the paper's intervals are computed so, and these equal them.
    """
    by_group: dict[str, list[Estimate]] = defaultdict(list)
    for task, estimate in estimates.items():
        by_group[group_of(task)].append(estimate)
    means = {group: _group_mean(members) for group, members in by_group.items()}
    if means:
        center = float(np.mean([mean.mean for mean in means.values()]))
        means[MACRO] = _mean(center, float(np.sqrt(np.mean([mean.sd**2 for mean in means.values()]))))
    return means


def few_shot_means(scores: Iterable[tuple[str, int, float]]) -> dict[tuple[str, int], Mean]:
    """Points of the few-shot curves by (group, k), from (task, k, score) of every replicate.

    Mean over replicates per task, then over the group's tasks. The band is the group mean's SD where tasks
    are independent and each task's SD is the spread of its replicates (none with a single replicate). Where there are
    several groups, `macro` is their mean.
    """
    by_task: dict[tuple[str, int], list[float]] = defaultdict(list)
    for task, k, score in scores:
        if in_group_means(task, k):
            by_task[task, k].append(score)
    by_group: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for (task, k), values in by_task.items():
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        by_group[group_of(task), k].append((float(np.mean(values)), spread))
    means = {key: _combine(members) for key, members in by_group.items()}
    return means | _macro(means)


def _macro(means: Mapping[tuple[str, int], Mean]) -> dict[tuple[str, int], Mean]:
    """The mean of the groups at each k that has several."""
    of_shot: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for (_, k), mean in means.items():
        of_shot[k].append((mean.mean, mean.sd))
    return {(MACRO, k): _combine(members) for k, members in of_shot.items() if len(members) > 1}


def _group_mean(members: list[Estimate]) -> Mean:
    return _combine([(member.score, member.std) for member in members])


def _combine(members: list[tuple[float, float]]) -> Mean:
    values, spreads = zip(*members, strict=True)
    return _mean(float(np.mean(values)), float(np.sqrt(np.sum(np.square(spreads)))) / len(members))


def _mean(center: float, sd: float) -> Mean:
    return Mean(center, sd, center - 1.96 * sd, center + 1.96 * sd)
