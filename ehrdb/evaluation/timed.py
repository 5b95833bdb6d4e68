"""Tasks that ask when: every model's hazards, C index and integrated Brier score, compared on the same patients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ehrdb.evaluation.question import Question
from ehrdb.prediction.bootstrap import Drawing, Estimate, Floats, draw_patients, estimate
from ehrdb.prediction.heads import Features, FoldedHead, Head, LinearHead, Trainer
from ehrdb.prediction.survival import Follow, censoring, known_within, replicated, spans_of, survival
from ehrdb.prediction.targets import Target

ALIKE = "everybody alike"
"""The Kaplan-Meier estimate of the training patients, given to everybody: what a model must beat."""


@dataclass(frozen=True)
class TimedRun:
    """One model's scores on one task, with the patient bootstrap; None where no two test patients can be compared.

    intervals: their ends in days. c_difference: of the evaluated model's C minus this one's, on the same drawings of
    patients (None for the evaluated model itself).
    """

    task: str
    model: str
    intervals: list[int]
    c_index: Estimate | None
    integrated_brier: Estimate | None
    c_difference: Estimate | None


def answer_timed(question: Question, *, tell: Callable[[str, int, int], None] = lambda *_: None) -> list[TimedRun]:
    """Each task's runs: the evaluated model, the others, and everybody alike. Raises TrainingError."""
    runs: list[TimedRun] = []
    own = next(iter(question.targets.values()))
    for place, target in enumerate(own):
        ends = question.intervals[target.task]
        drawing = draw_patients(target.test.patient_id)
        curves = {ALIKE: _alike(target, ends)}
        for name, targets in question.targets.items():
            curves[name] = _curves(targets[place], ends, question.trainers[name])
            tell(f"heads on {name}", place + 1, len(own))
        runs += _compared(target, ends, curves, list(question.targets), drawing)
    return runs


def _curves(target: Target, ends: list[int], trainer: Trainer) -> Floats:
    """Survival of the test rows at each interval's end, from a head for each interval's hazard."""
    heads = []
    for start, end in spans_of(ends):
        (train, y_train), (val, y_val) = (known_within(split, start, end) for split in (target.train, target.val))
        x_train, x_val = target.features[target.train.row[train]], target.features[target.val.row[val]]
        heads.append(_as_scored(trainer(x_train, y_train, x_val, y_val), target.features))
    return survival(heads, target.features[target.test.row])


def _as_scored(head: Head, features: Features) -> Head | FoldedHead:
    """A linear head on vectors as SQL scores it, in double precision: ties are ties there."""
    return head.fold() if isinstance(head, LinearHead) and isinstance(features, np.ndarray) else head


def _alike(target: Target, ends: list[int]) -> Floats:
    follow = Follow.of(target.train.labels)
    # Free of the outcome as others are free of being lost: the two change places.
    times, estimates = censoring(Follow(follow.days, ~follow.happened))
    free = np.append(1.0, estimates)[np.searchsorted(times, np.array(ends, dtype=np.float64), side="right")]
    return np.tile(free, (len(target.test.labels), 1))


def _compared(
    target: Target, ends: list[int], curves: dict[str, Floats], models: Sequence[str], drawing: Drawing
) -> Iterator[TimedRun]:
    found = {name: replicated(free, ends, target.train, target.test, drawing) for name, free in curves.items()}
    own = found[models[0]]["c_index"]
    for name in [*models, ALIKE]:
        scores = found[name]
        difference = None if name == models[0] else _estimated(own - scores["c_index"])
        c_index, brier = _estimated(scores["c_index"]), _estimated(scores["integrated_brier"])
        yield TimedRun(target.task, name, ends, c_index, brier, difference)


def _estimated(values: Floats) -> Estimate | None:
    return None if np.isnan(values).any() else estimate(values)


def as_rows(runs: Sequence[TimedRun]) -> list[dict[str, Any]]:
    """A row for each run: each score with its 95 % interval, null where there is none."""
    parts = ("score", "lower", "upper")
    return [
        {"task": run.task, "model": run.model, "intervals": run.intervals}
        | {
            name + ("" if part == "score" else f"_{part}"): None if found is None else getattr(found, part)
            for name in ("c_index", "integrated_brier", "c_difference")
            for found in [getattr(run, name)]
            for part in parts
        }
        for run in runs
    ]
