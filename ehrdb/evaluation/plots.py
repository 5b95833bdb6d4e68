"""The report's figures, each an SVG that an <img> can hold."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from math import isnan
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from ehrdb.evaluation.aggregate import Mean
from ehrdb.evaluation.diagnostics import (
    Band,
    Subgroup,
    decision_curve,
    precision_recall_curve,
    roc_curve,
)
from ehrdb.prediction.sampling import ALL

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, which colour-blind readers tell apart; dashes do so in print."""
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ehrdb",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "legend.frameon": False,
}
Curve = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Image:
    """A figure as a data URI, and what it shows in words."""

    source: str
    text: str


def few_shot(group: str, metric: str, models: dict[str, dict[int, Mean]]) -> Image:
    """Mean of a group's tasks over k, one line and band per model."""
    shots = sorted({k for means in models.values() for k in means}, key=lambda k: (k == ALL, k))
    with _figure(f"{group}: {metric} by examples per class", 4.6, 3.2) as (axes, image):
        for (name, means), style in zip(models.items(), _styles(), strict=False):
            at = [shots.index(k) for k in shots if k in means]
            points = [means[k] for k in shots if k in means]
            axes.plot(at, [point.mean for point in points], label=name, marker="o", markersize=3, **style)
            lower, upper = [point.lower for point in points], [point.upper for point in points]
            axes.fill_between(at, lower, upper, color=style["color"], alpha=0.15, linewidth=0)
        axes.set_xticks(range(len(shots)), ["all" if k == ALL else str(k) for k in shots])
        axes.set(title=group, xlabel="examples per class", ylabel=metric)
    return image()


def radar(title: str, models: dict[str, dict[str, float]]) -> Image:
    """A spoke for each task, and a line around for each model; further out is better."""
    tasks = list(dict.fromkeys(task for scores in models.values() for task in scores))
    spokes = np.linspace(0, 2 * np.pi, len(tasks), endpoint=False).tolist()
    lowest = min(score for scores in models.values() for score in scores.values())
    with _figure(title, 4.6, 4.4, projection="polar") as (axes, image):
        for (name, scores), style in zip(models.items(), _styles(), strict=False):
            around = [scores.get(task, np.nan) for task in tasks]
            axes.plot([*spokes, 0.0], [*around, around[0]], label=name, linewidth=1.2, **style)
        axes.set_xticks(spokes, tasks, fontsize=7)
        axes.set_ylim(np.floor(min(lowest, 0.5) * 10) / 10, 1)
        axes.tick_params(axis="x", pad=10)
        axes.tick_params(axis="y", labelsize=7)
        assert isinstance(axes, PolarAxes)
        axes.set_rlabel_position(180 / len(tasks))  # between two spokes
        axes.set_title(title, pad=18)
    return image()


def roc(models: dict[str, list[Band]]) -> Image:
    """True against false positive rate."""
    return _curves("ROC curve", "false positive rate", "true positive rate", models, roc_curve, diagonal=True)


def precision_recall(models: dict[str, list[Band]]) -> Image:
    """Precision against recall."""
    return _curves("Precision and recall", "recall", "precision", models, precision_recall_curve)


def calibration(models: dict[str, list[Band]]) -> Image:
    """Observed rate against mean predicted probability in ten bands."""
    x, y = "mean predicted probability", "observed rate"
    return _curves("Calibration", x, y, models, _reliability, diagonal=True)


def decision(models: dict[str, list[Band]]) -> Image:
    """Net benefit over the threshold above which one would act."""
    with _figure("Decision curve: net benefit by threshold") as (axes, image):
        first = next(iter(models.values()))
        prevalence = sum(band.positives for band in first) / sum(band.labels for band in first)
        thresholds = np.linspace(0, min(0.95, 4 * prevalence), 60, endpoint=False).tolist()
        for (name, bands), style in zip(models.items(), _styles(), strict=False):
            axes.plot(thresholds, decision_curve(bands, thresholds)[0], label=name, **style)
        axes.plot(thresholds, decision_curve(first, thresholds)[1], label="everyone", color="#999999", lw=1)
        axes.axhline(0, color="#333333", linewidth=1)
        axes.set(title="Decision curve", xlabel="threshold probability", ylabel="net benefit")
        axes.set_ylim(-prevalence / 4, prevalence * 1.1)
    return image()


def forest(groups: list[Subgroup], overall: float) -> Image:
    """AUROC with interval in every subgroup."""
    with _figure("AUROC by subgroup", 5.2, 0.7 + 0.27 * len(groups)) as (axes, image):
        for row, group in enumerate(groups):
            if group.auroc is None:
                axes.text(overall, row, "too few", color="#777777", va="center", ha="center", fontsize=8)
            else:
                interval = [] if isnan(group.auroc.lower) else [group.auroc.lower, group.auroc.upper]
                axes.plot(interval, [row] * len(interval), color=COLORS[0], linewidth=1.5)
                axes.plot(group.auroc.score, row, "s", color=COLORS[0], markersize=4)
        axes.axvline(overall, color="#999999", linewidth=1, linestyle="--")
        labels = [f"{group.variable} {group.level} ({group.patients:,})" for group in groups]
        axes.set_yticks(range(len(groups)), labels)
        axes.set(xlabel="AUROC (patients in brackets)", ylim=(len(groups) - 0.5, -0.5))
    return image()


def _styles() -> Iterator[dict[str, Any]]:
    """A line for each model, however many there are: colours come again with other dashes."""
    for number in count():
        around, place = divmod(number, len(COLORS))
        yield {"color": COLORS[place], "linestyle": _DASHES[(place + around) % len(_DASHES)]}


def _reliability(bands: list[Band]) -> Curve:
    return [band.mean_probability for band in bands], [band.positives / band.labels for band in bands]


def _curves(
    title: str,
    x: str,
    y: str,
    models: dict[str, list[Band]],
    curve: Callable[[list[Band]], Curve],
    *,
    diagonal: bool = False,
) -> Image:
    with _figure(f"{title}: {y} against {x}") as (axes, image):
        if diagonal:
            axes.plot([0, 1], [0, 1], color="#999999", linewidth=1)
        for (name, bands), style in zip(models.items(), _styles(), strict=False):
            axes.plot(*curve(bands), label=name, **style)
        axes.set(title=title, xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02))
    return image()


@contextmanager
def _figure(
    text: str, width: float = 3.2, height: float = 3.0, projection: str | None = None
) -> Iterator[tuple[Axes, Callable[[], Image]]]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")

        axes = figure.subplots(subplot_kw={"projection": projection})

        def image() -> Image:
            with BytesIO() as buffer, mpl.rc_context(_STYLE):
                if axes.get_legend_handles_labels()[0]:
                    figure.legend(loc="outside lower left", ncols=2 if figure.get_figwidth() > 4 else 1)
                figure.savefig(buffer, format="svg", metadata={"Date": None})
                return Image("data:image/svg+xml;base64," + b64encode(buffer.getvalue()).decode(), text)

        yield axes, image
