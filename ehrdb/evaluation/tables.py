"""Means of all models side by side, as the paper prints them, with the figures that it published beneath."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.resources import files
from typing import Any

import polars as pl
import yaml

from ehrdb.evaluation.aggregate import MACRO, Mean, family_of, group_name
from ehrdb.prediction.sampling import ALL
from ehrdb.prediction.tasks import benchmark_tasks
from ehrdb.prediction.uk_biobank import uk_biobank_names

UNTRAINED = 0
"""In the place of k: what learned from no example."""
Means = Mapping[tuple[str, int], Mean]
"""By group and k."""


def side_by_side(models: Mapping[str, Means], tasks: Collection[str]) -> pl.DataFrame:
    """A row for each model and k, a column for each group: mean AUROC with its 95 % interval, in words.

    Beneath them stand the macro means that the paper published, where exactly its tasks (the EHRSHOT benchmark's, or
    the UK Biobank's) were evaluated.
    """
    groups = list(dict.fromkeys(group for means in models.values() for group, _ in means))
    groups = [group for group in groups if group != MACRO] + [MACRO] * (len(groups) > 2)
    shots = sorted({k for means in models.values() for _, k in means}, key=lambda k: (k != ALL, -k))
    rows = [
        {"model": name, "trained on": trained_on(k)}
        | {group_name(group): _words(means.get((group, k))) for group in groups}
        for k in shots
        for name, means in models.items()
    ]
    blank = {group_name(group): "" for group in groups}
    for each in published(tasks):
        if each["k"] in (*shots, UNTRAINED):
            said = {"trained on": trained_on(each["k"])}
            rows += [
                {"model": f"{name} (paper, {each['source']})", **said, **blank, group_name(MACRO): f"{auroc:.3f}"}
                for name, auroc in each["macro"].items()
            ]
    return pl.DataFrame(rows)


def published(tasks: Collection[str]) -> list[dict[str, Any]]:
    """What the paper published of exactly these tasks: source, k, and macro AUROC by model."""
    suites = {"ehrshot": set(benchmark_tasks()), "uk_biobank": uk_biobank_names()}
    asked = {family_of(task) for task in tasks}
    known = yaml.safe_load((files("ehrdb.evaluation") / "published.yaml").read_text(encoding="utf-8"))
    return [each for each in known if suites[each["suite"]] == asked]


def trained_on(k: int) -> str:
    """How many examples of each class, in words."""
    return {ALL: "all rows", UNTRAINED: "nothing"}.get(k, f"k = {k}")


def _words(mean: Mean | None) -> str:
    if mean is None:
        return ""
    return f"{mean.mean:.3f} ({mean.lower:.3f}-{mean.upper:.3f})" if mean.sd else f"{mean.mean:.3f}"
