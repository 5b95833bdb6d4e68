"""Heads of time to an outcome: one hazard for each interval, a logistic regression among those who reach it.

A hazard is the probability of the outcome within an interval for who was without it until its start, so it is a folded
head like the others: SQL multiplies one minus the hazards (`ehr.survival`). Labels are days: to the outcome, or,
negative, whole days known without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ehrdb.database import Database
from ehrdb.embedding import Progress
from ehrdb.embedding.load import LoadEncoder
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.prediction.bootstrap import Drawing, Estimate, Floats, Integers, draw_patients, estimate
from ehrdb.prediction.calibration import Method
from ehrdb.prediction.enough import Supply, require_enough
from ehrdb.prediction.heads import Features, FoldedHead, Head, train_head
from ehrdb.prediction.keep import Made, keep_heads
from ehrdb.prediction.targets import SPLITS, Split, Target
from ehrdb.prediction.tasks import find_task
from ehrdb.prediction.training import embed_labels, load_features

_CHUNK = 64


@dataclass(frozen=True)
class SurvivalResult:
    """The heads of one task: per split how many labels and outcomes; the intervals' ends in days and each one's C.

    test: Harrell's C of the risk by the last interval's end, and the Brier score integrated over the ends, with the
    patient bootstrap's intervals; null where no two test patients can be compared. is_from_few: an interval's head was
    made from fewer labels of a class than a head needs.
    """

    target: str
    labels: dict[str, int]
    positives: dict[str, int]
    intervals: list[int]
    best_c: list[float]
    is_calibrated: bool
    test: dict[str, Estimate | None]
    is_from_few: bool = False
    calibration: Method | None = None
    has_counts: bool = False


@dataclass(frozen=True)
class Follow:
    """What is known of rows: days to the outcome where `happened`, else to when they were last known without it."""

    days: Floats
    happened: NDArray[np.bool_]

    @classmethod
    def of(cls, labels: Integers) -> Follow:
        """From labels. Who was without the outcome for whole days was so a little longer."""
        happened = labels > 0
        return cls(np.where(happened, labels, 0.5 - labels).astype(np.float64), happened)

    def within(self, start: int, end: int) -> tuple[Integers, Integers]:
        """Rows whose fate in an interval is known, and whether the outcome falls into it."""
        is_case = self.happened & (self.days > start) & (self.days <= end)
        rows = np.flatnonzero(is_case | (self.days > end))
        return rows, is_case[rows].astype(np.int64)


def train_survival(
    database: Database,
    encoder: RegisteredEncoder,
    load_encoder: LoadEncoder,
    task_name: str,
    *,
    calibrate: bool = True,
    calibration: Method = "platt",
    accept_few: bool = False,
    with_counts: bool = False,
    progress: Progress = lambda done, total: None,
) -> SurvivalResult:
    """Label the task, embed what is missing, fit and store a head for each interval.

    Raises NotFound for an unknown task, TrainingError where an interval lacks outcomes, or has few of them
    (`enough.LEAST`) without `accept_few`.
    """
    prompt = embed_labels(database, encoder, load_encoder, task_name, progress=progress)
    with database.transaction() as connection:
        task = find_task(connection, task_name)
    (target,), counted = load_features(database, encoder, task_name, prompt, with_counts=with_counts)
    ends = [int(end) for end in task.rule["intervals"]]
    spans = spans_of(ends)
    supplies = [_supply(target, *span) for span in spans]
    require_enough(supplies, accept_few=accept_few)
    method = calibration if calibrate else None
    fitted = [_fit(target, *span, method) for span in spans]
    heads = [head for head, _ in fitted]
    splits: dict[str, Split] = {name: getattr(target, name) for name in SPLITS}
    result = SurvivalResult(
        task_name,
        {name: len(split.labels) for name, split in splits.items()},
        {name: int((split.labels > 0).sum()) for name, split in splits.items()},
        ends,
        [c for _, c in fitted],
        calibrate,
        scores(survival(heads, target.features[target.test.row]), ends, target.train, target.test),
        any(supply.short for supply in supplies),
        method,
        with_counts,
    )
    learned = {name: value for name, value in asdict(result).items() if name != "target"}
    made = [
        Made(f"{task_name}_day_{end}", head, supply.base_rate, learned, counted)
        for end, head, supply in zip(ends, heads, supplies, strict=True)
    ]
    with database.transaction() as connection:
        keep_heads(connection, encoder, task, prompt, made)
    return result


def spans_of(ends: Sequence[int]) -> list[tuple[int, int]]:
    """Each interval's start and end, in days."""
    return list(zip([0, *ends[:-1]], ends, strict=True))


def survival(heads: Sequence[FoldedHead | Head], features: Features) -> Floats:
    """Probability of being without the outcome at each interval's end; (rows, intervals)."""
    hazards = np.stack([head.probability(features) for head in heads], axis=1)
    return np.asarray(np.cumprod(1 - hazards, axis=1), dtype=np.float64)


def _supply(target: Target, start: int, end: int) -> Supply:
    labels = {name: known_within(getattr(target, name), start, end)[1] for name in SPLITS}
    return Supply(
        f"task {target.task}, outcome in days {start + 1} to {end}",
        {name: len(of_split) for name, of_split in labels.items()},
        {name: int(of_split.sum()) for name, of_split in labels.items()},
    )


def _fit(target: Target, start: int, end: int, method: Method | None) -> tuple[FoldedHead, float]:
    (train, y_train), (val, y_val) = (known_within(split, start, end) for split in (target.train, target.val))
    x_val = target.features[target.val.row[val]]
    model = train_head(target.features[target.train.row[train]], y_train, x_val, y_val)
    return model.fold().calibrated(method, x_val, y_val, target.val.patient_id[val]), model.params["C"]


def known_within(split: Split, start: int, end: int) -> tuple[Integers, Integers]:
    """Rows of a split whose fate in an interval is known, and whether the outcome falls into it."""
    return Follow.of(split.labels).within(start, end)


def scores(free: Floats, ends: list[int], train: Split, test: Split) -> dict[str, Estimate | None]:
    """C and integrated Brier score of survival `free` (test rows, intervals), with the patient bootstrap."""
    found = replicated(free, ends, train, test, draw_patients(test.patient_id))
    return {name: None if np.isnan(values[0]) else estimate(values) for name, values in found.items()}


def replicated(free: Floats, ends: list[int], train: Split, test: Split, drawing: Drawing) -> dict[str, Floats]:
    """The same under every column of the drawing's counts."""
    follow = Follow.of(test.labels)
    losses = brier_losses(free, np.array(ends, dtype=np.float64), follow, censoring(Follow.of(train.labels)))
    with np.errstate(invalid="ignore"):
        return {
            "c_index": concordance(1 - free[:, -1], follow, drawing),
            "integrated_brier": integrated(losses, np.array(ends, dtype=np.float64), drawing),
        }


def concordance(risk: Floats, follow: Follow, drawing: Drawing) -> Floats:
    """Harrell's C under every column of the drawing's counts; NaN where no two rows can be compared.

    Compared are a row with the outcome and each that was without it longer; equal risks count half.
    """
    weight = drawing.counts[drawing.patient]
    right, compared = np.zeros(weight.shape[1]), np.zeros(weight.shape[1])
    for some in _chunks(np.flatnonzero(follow.happened)):
        later = follow.days[None, :] > follow.days[some, None]
        above = (risk[some, None] > risk[None, :]) + (risk[some, None] == risk[None, :]) / 2
        right += np.einsum("ij,ij->j", (later * above) @ weight, weight[some])
        compared += np.einsum("ij,ij->j", later.astype(np.float64) @ weight, weight[some])
    return np.divide(right, compared, out=np.full_like(right, np.nan), where=compared > 0)


def _chunks(rows: Integers) -> Iterator[Integers]:
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]


def censoring(follow: Follow) -> tuple[Floats, Floats]:
    """When rows ceased to be followed, and the Kaplan-Meier estimate of still being followed from then on."""
    times, counts = np.unique(follow.days[~follow.happened], return_counts=True)
    at_risk = len(follow.days) - np.searchsorted(np.sort(follow.days), times)
    return times, np.asarray(np.cumprod(1 - counts / at_risk), dtype=np.float64)


def brier_losses(free: Floats, ends: Floats, follow: Follow, followed: tuple[Floats, Floats]) -> Floats:
    """Squared errors weighted by the inverse probability of still being followed (Graf et al. 1999); as `free`."""
    times, estimates = followed

    def still(moments: Floats) -> Floats:
        return np.append(1.0, estimates)[np.searchsorted(times, moments, side="right")]

    is_case = follow.happened[:, None] & (follow.days[:, None] <= ends)
    is_free = follow.days[:, None] > ends
    with np.errstate(divide="ignore"):
        of_cases, of_free = 1 / still(follow.days)[:, None], 1 / still(ends)[None, :]
    losses = np.where(is_case, free**2 * np.where(np.isfinite(of_cases), of_cases, 0), 0)
    return np.asarray(losses + np.where(is_free, (1 - free) ** 2 * np.where(np.isfinite(of_free), of_free, 0), 0))


def integrated(losses: Floats, ends: Floats, drawing: Drawing) -> Floats:
    """The mean losses under every column of counts, integrated over the intervals' ends by trapezoids."""
    weight = drawing.counts[drawing.patient]
    means = (losses.T @ weight) / weight.sum(axis=0)
    if len(ends) == 1:
        return np.asarray(means[0])
    return np.asarray(np.trapezoid(means, ends, axis=0) / (ends[-1] - ends[0]))
