"""Is one encoder better than another? A paired bootstrap over patients, with Holm's correction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ehrdb.errors import EhrdbError
from ehrdb.evaluation.aggregate import family_of
from ehrdb.evaluation.metrics import Ranking
from ehrdb.evaluation.run import Run
from ehrdb.prediction.bootstrap import Floats, Integers
from ehrdb.prediction.targets import Target

REPLICATES = 10_000
SIGNIFICANCE = 0.05
_BATCH = 512  # replicates drawn at once


@dataclass(frozen=True)
class Comparison:
    """The two models' probabilities for the same test rows of one target."""

    labels: Integers
    a: Floats
    b: Floats
    patient_id: Integers


@dataclass(frozen=True)
class PairedTest:
    """AUROC(A) - AUROC(B) with its 95 % interval, two-sided p, Holm-adjusted p and what they say about A."""

    task: str
    k: int
    delta: float
    lower: float
    upper: float
    p: float
    p_holm: float
    outcome: Literal["win", "tie", "loss"]


def compare(
    targets: Sequence[Target], a: Sequence[Run], b: Sequence[Run], replicates: int = REPLICATES
) -> list[PairedTest]:
    """One test per task and k that both sets of runs hold; p is not adjusted yet, see `holm`.

    A model's probabilities are averaged over its replicates row by row. The findings of X-rays are one task.
    """
    families: dict[str, list[Target]] = defaultdict(list)
    for target in targets:
        families[family_of(target.task)].append(target)
    mean_a, mean_b = _mean_probability(a), _mean_probability(b)
    return [
        paired_test(
            task,
            k,
            [_comparison(target, mean_a[target.task, k], mean_b[target.task, k]) for target in family],
            replicates,
        )
        for k in dict.fromkeys(k for _, k in mean_a)
        for task, family in families.items()
    ]


def paired_test(task: str, k: int, findings: Sequence[Comparison], replicates: int = REPLICATES) -> PairedTest:
    """Compare two models on one task; several findings (chexpert) count with their mean AUROC.

    Patients are drawn together for all findings. A finding without both classes in a replicate is left out of
    it; a replicate without any finding is skipped. `p_holm` is `p` until `holm` has seen the whole family of
    tests.
    """
    patients = np.unique(np.concatenate([finding.patient_id for finding in findings]))
    rankings = [_rank(finding, patients) for finding in findings]
    delta = float(_delta(rankings, np.ones((len(patients), 1)))[0])
    drawn = np.concatenate([_delta(rankings, counts) for counts in _draw(len(patients), replicates)])
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(delta) or len(drawn) < max(100, replicates // 10):
        raise EhrdbError(
            f"{task}, k = {k}: only {len(drawn)} of {replicates} bootstrap replicates have both classes",
            hint="The test set has too few patients of one class to compare encoders on this task.",
        )
    lower, upper = np.percentile(drawn, [2.5, 97.5])
    p = _two_sided(drawn)
    return PairedTest(task, k, delta, float(lower), float(upper), p, p, _outcome(p, delta))


def holm(tests: Sequence[PairedTest]) -> list[PairedTest]:
    """The same tests with p adjusted by Holm's step-down over all of one k."""
    adjusted: dict[int, PairedTest] = {}
    for k in {test.k for test in tests}:
        family = sorted((i for i, test in enumerate(tests) if test.k == k), key=lambda i: tests[i].p)
        largest = 0.0
        for rank, i in enumerate(family):
            largest = min(1.0, max(largest, (len(family) - rank) * tests[i].p))
            outcome = _outcome(largest, tests[i].delta)
            adjusted[i] = replace(tests[i], p_holm=largest, outcome=outcome)
    return [adjusted[i] for i in range(len(tests))]


def _comparison(target: Target, a: Floats, b: Floats) -> Comparison:
    return Comparison(target.test.labels, a, b, target.test.patient_id)


def _mean_probability(runs: Sequence[Run]) -> dict[tuple[str, int], Floats]:
    replicates: dict[tuple[str, int], list[Floats]] = defaultdict(list)
    for run in runs:
        replicates[run.task, run.k].append(run.probability)
    return {key: np.mean(probabilities, axis=0) for key, probabilities in replicates.items()}


def _draw(patients: int, replicates: int) -> Iterator[Floats]:
    random = np.random.default_rng(0)
    for start in range(0, replicates, _BATCH):
        number = min(_BATCH, replicates - start)
        drawn = random.integers(0, patients, (number, patients)) + patients * np.arange(number)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=number * patients).reshape(number, patients)
        yield np.ascontiguousarray(counts.T, dtype=np.float64)


def _rank(finding: Comparison, patients: Integers) -> tuple[Ranking, Ranking]:
    patient = np.searchsorted(patients, finding.patient_id)
    a, b = (Ranking.of(finding.labels, scores, patient, len(patients)) for scores in (finding.a, finding.b))
    return a, b


def _delta(rankings: Sequence[tuple[Ranking, Ranking]], counts: Floats) -> Floats:
    a, b = (np.stack([model.auroc(counts) for model in models]) for models in zip(*rankings, strict=True))
    return _mean_present(a) - _mean_present(b)


def _mean_present(values: Floats) -> Floats:
    present = ~np.isnan(values)
    number = present.sum(axis=0)
    total = np.where(present, values, 0).sum(axis=0)
    mean: Floats = np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)
    return mean


def _two_sided(deltas: Floats) -> float:
    below, above = (
        (1 + np.sum(deltas <= 0)) / (len(deltas) + 1),
        (1 + np.sum(deltas >= 0)) / (len(deltas) + 1),
    )
    return float(min(1.0, 2 * min(below, above)))


def _outcome(p: float, delta: float) -> Literal["win", "tie", "loss"]:
    if p >= SIGNIFICANCE or delta == 0:
        return "tie"
    return "win" if delta > 0 else "loss"
