"""From runs to the page: tables, figures and the template that holds them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined

from ehrdb.evaluation import PairedTest, Run, few_shot_means, group_means, plots
from ehrdb.evaluation.aggregate import MACRO, Mean, family_of, group_name, group_of
from ehrdb.evaluation.diagnostics import (
    MINIMUM_CELL,
    Band,
    age_group,
    bands,
    expected_calibration_error,
    subgroups,
)
from ehrdb.evaluation.plots import Image
from ehrdb.evaluation.tables import trained_on
from ehrdb.prediction.bootstrap import Estimate, Floats
from ehrdb.prediction.sampling import ALL
from ehrdb.prediction.targets import SPLITS, Split, Target

METRICS = {"auroc": "AUROC", "auprc": "AUPRC", "brier": "Brier score"}
_CURVE_BANDS, _CALIBRATION_BANDS = 60, 10


@dataclass(frozen=True)
class Model:
    """An encoder or a baseline and its runs on the report's targets."""

    name: str
    runs: Sequence[Run]


@dataclass(frozen=True)
class Report:
    """What a report is made of.

    models: the evaluated one first, then those it is compared with. tests: of the first model against each
    other, in their order. patients: patient_id, birth_time, sex, race, for subgroups. provenance: shown as
    it is.
    """

    title: str
    targets: Sequence[Target]
    models: Sequence[Model]
    tests: Sequence[PairedTest] = ()
    patients: pl.DataFrame | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Coverage:
    """One split of one target; positives is None when they come from too few patients to be shown."""

    split: str
    labels: int
    patients: int
    positives: int | None
    years: str


@dataclass(frozen=True)
class TaskPage:
    """What is shown of one target."""

    task: str
    k: int
    figures: list[Image]
    calibration_errors: dict[str, float]
    forest: Image | None


def render(report: Report) -> str:
    """The report as HTML."""
    environment = Environment(
        loader=PackageLoader("ehrdb.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["shots"] = trained_on
    return environment.get_template("report.html.j2").render(
        report=report,
        minimum=MINIMUM_CELL,
        metrics=METRICS,
        summary=_summary(report),
        verdicts=_verdicts(report),
        curves=_few_shot_curves(report),
        radar=_radar(report),
        scores={label: _scores(report, metric) for metric, label in METRICS.items()},
        coverage={target.task: [_coverage(target, name) for name in SPLITS] for target in report.targets},
        pages=[_page(report, target) for target in report.targets],
    )


def _summary(report: Report) -> dict[str, dict[str, list[Mean | None]]]:
    """Group means on all training rows: metric -> group -> one mean per model (the paper's Table 3)."""
    found: dict[str, dict[str, list[Mean | None]]] = {}
    for metric in ("auroc", "auprc"):
        means = [
            intervals({run.task: getattr(run.metrics, metric) for run in model.runs if run.k == ALL})
            for model in report.models
        ]
        found[METRICS[metric]] = {group_name(group): [mean.get(group) for mean in means] for group in means[0]}
    return found


def intervals(estimates: Mapping[str, Estimate]) -> dict[str, Mean]:
    """Group means as a reader expects them.

    A single task has the interval that it has everywhere in the report, a single group has no mean of groups, and no
    interval leaves what the metric can be, as the paper's normal ones do.
    """
    means = group_means(estimates)
    members = {group: [task for task in estimates if group_of(task) == group] for group in means if group != MACRO}
    if len(members) == 1:
        means.pop(MACRO)
    alone = {group: estimates[tasks[0]] for group, tasks in members.items() if len(tasks) == 1}
    return {
        group: replace(mean, lower=alone[group].lower, upper=alone[group].upper) if group in alone else _within(mean)
        for group, mean in means.items()
    }


def _within(mean: Mean) -> Mean:
    lower, upper = np.clip([mean.lower, mean.upper], 0, 1).tolist()
    return replace(mean, lower=lower, upper=upper)


def _verdicts(report: Report) -> dict[tuple[int, str], list[PairedTest]]:
    """Tests by (k, task), one for each other model, the largest k first."""
    found: dict[tuple[int, str], list[PairedTest]] = defaultdict(list)
    for test in sorted(report.tests, key=lambda test: (test.k != ALL, -test.k)):
        found[test.k, test.task].append(test)
    return found


def _radar(report: Report) -> Image | None:
    """Every task's AUROC of the heads on the most examples; None where fewer than three spokes would stand."""
    k = _most_examples(report)
    scores: dict[str, dict[str, list[float]]] = {model.name: defaultdict(list) for model in report.models}
    for model in report.models:
        for run in model.runs:
            if run.k == k:
                scores[model.name][family_of(run.task)].append(run.metrics.auroc.score)
    means = {name: {task: float(np.mean(found)) for task, found in tasks.items()} for name, tasks in scores.items()}
    return plots.radar(f"AUROC by task, {trained_on(k)}", means) if len(means[report.models[0].name]) > 2 else None


def _most_examples(report: Report) -> int:
    """The largest k of the evaluated model."""
    return max((run.k for run in report.models[0].runs), key=lambda k: (k == ALL, k))


def _few_shot_curves(report: Report) -> list[Image]:
    by_model = {
        model.name: few_shot_means((run.task, run.k, run.metrics.auroc.score) for run in model.runs)
        for model in report.models
    }
    first = by_model[report.models[0].name]
    if len({k for _, k in first}) < 2:
        return []
    return [
        plots.few_shot(
            group_name(group),
            METRICS["auroc"],
            {
                name: {k: _within(mean) for (other, k), mean in means.items() if other == group}
                for name, means in by_model.items()
            },
        )
        for group in dict.fromkeys(group for group, _ in first)
    ]


def _scores(report: Report, metric: str) -> list[dict[str, Any]]:
    """Rows of task, k and, for each model, the means over replicates of score, lower and upper bound."""
    cells: dict[tuple[str, int], dict[str, list[tuple[float, float, float]]]] = defaultdict(lambda: defaultdict(list))
    for model in report.models:
        for run in model.runs:
            estimate = getattr(run.metrics, metric)
            cells[run.task, run.k][model.name].append((estimate.score, estimate.lower, estimate.upper))
    return [
        {
            "task": task,
            "k": k,
            "cells": [np.mean(by_model[model.name], axis=0).tolist() for model in report.models],
        }
        for (task, k), by_model in cells.items()
    ]


def _coverage(target: Target, name: str) -> Coverage:
    split: Split = getattr(target, name)
    positive = split.labels == 1
    shown = _patients(split, positive) >= MINIMUM_CELL
    years = split.prediction_time.astype("datetime64[Y]")
    return Coverage(
        name,
        len(split.labels),
        _patients(split, positive | True),
        int(positive.sum()) if shown else None,
        f"{years.min()} to {years.max()}",
    )


def _patients(split: Split, rows: Any) -> int:
    return len(np.unique(split.patient_id[rows]))


def _page(report: Report, target: Target) -> TaskPage:
    k = _most_examples(report)
    probabilities = {model.name: _probability(model, target.task, k) for model in report.models}
    curves = _bands(target, probabilities, _CURVE_BANDS)
    deciles = _bands(target, probabilities, _CALIBRATION_BANDS)
    figures = [plots.roc(curves), plots.precision_recall(curves)] if curves else []
    figures += [plots.calibration(deciles)] if deciles else []
    figures += [plots.decision(curves)] if curves else []
    errors = {name: expected_calibration_error(found) for name, found in deciles.items()}
    return TaskPage(target.task, k, figures, errors, _forest(report, target, probabilities))


def _probability(model: Model, task: str, k: int) -> Floats:
    """A model's test probabilities, averaged over its replicates."""
    mean: Floats = np.mean([run.probability for run in model.runs if (run.task, run.k) == (task, k)], axis=0)
    return mean


def _bands(target: Target, probabilities: Mapping[str, Floats], number: int) -> dict[str, list[Band]]:
    """Bands of every model whose predictions fall into two or more."""
    test = target.test
    found = {
        name: bands(test.labels, probability, test.patient_id, number) for name, probability in probabilities.items()
    }
    return {name: cut for name, cut in found.items() if len(cut) > 1}


def _forest(report: Report, target: Target, probabilities: Mapping[str, Floats]) -> Image | None:
    if report.patients is None:
        return None
    test, name = target.test, report.models[0].name
    asked = pl.DataFrame({"patient_id": test.patient_id, "prediction_time": test.prediction_time})
    known = asked.join(report.patients, on="patient_id", how="left", maintain_order="left")
    age = (pl.col("prediction_time") - pl.col("birth_time")).dt.total_days() / 365.25
    levels = known.select("sex", "race", age=age_group(age))
    groups = subgroups(test.labels, probabilities[name], test.patient_id, levels)
    return plots.forest(groups, _overall(report, target.task)) if groups else None


def _overall(report: Report, task: str) -> float:
    runs = [run for run in report.models[0].runs if run.task == task]
    largest = max(runs, key=lambda run: (run.k == ALL, run.k)).k
    return float(np.mean([run.metrics.auroc.score for run in runs if run.k == largest]))


__all__ = ["Model", "Report", "render"]
