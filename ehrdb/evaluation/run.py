"""The protocol: for every target, k and replicate train a head on a sample, measure it on the test set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from ehrdb.errors import TrainingError
from ehrdb.evaluation import metrics
from ehrdb.evaluation.metrics import Metrics
from ehrdb.prediction.bootstrap import DRAWINGS, REPLICATES, Drawing, Floats
from ehrdb.prediction.heads import Features, Trainer, train_head
from ehrdb.prediction.sampling import ALL, sample_shots
from ehrdb.prediction.targets import SPLITS, Target


@dataclass(frozen=True)
class Run:
    """One head's result. probability: (test labels,) in the order of the target's test split."""

    task: str
    k: int
    replicate: int
    params: dict[str, float]
    metrics: Metrics
    probability: Floats


def evaluate(
    targets: Sequence[Target],
    shots: Sequence[int],
    *,
    replicates: int = 5,
    trainer: Trainer = train_head,
    workers: int = 1,
    bootstrap: int = REPLICATES,
    draw: str = "patients",
) -> Iterator[Run]:
    """Run the protocol; yields runs in the order of targets, shots and replicates (one replicate for ALL).

    draw: what the bootstrap draws (`DRAWINGS`). The numbers do not depend on `workers`. Raises TrainingError for a
    target that lacks a class in a split.
    """
    for target in targets:
        check_classes(target)
    with Parallel(n_jobs=workers, return_as="generator") as parallel:
        for target in targets:
            test = target.features[target.test.row]
            drawing = DRAWINGS[draw](target.test.patient_id, bootstrap)
            yield from parallel(
                delayed(_run)(target, test, drawing, k, replicate, trainer)
                for k in shots
                for replicate in range(1 if k == ALL else replicates)
            )


def check_classes(target: Target) -> None:
    """Raise TrainingError naming the task when one of its splits lacks a class."""
    for name in SPLITS:
        labels = getattr(target, name).labels
        positives = int(labels.sum())
        if not 0 < positives < len(labels):
            raise TrainingError(
                f"task {target.task}: the {name} split has {positives} positive labels of {len(labels)}",
                hint="Every split needs positive and negative labels: leave this task out or add patients.",
            )


def _run(target: Target, x_test: Features, drawing: Drawing, k: int, replicate: int, trainer: Trainer) -> Run:
    train, val = (sample_shots(split.labels, k, replicate) for split in (target.train, target.val))
    x_train, x_val = target.features[target.train.row[train]], target.features[target.val.row[val]]
    # One thread: sums, and with them the iterations at large C, depend on how many share them.
    with threadpool_limits(1):
        head = trainer(x_train, target.train.labels[train], x_val, target.val.labels[val])
        probability = head.probability(x_test)
        measured = metrics.measure(target.test.labels, probability, drawing)
    return Run(target.task, k, replicate, head.params, measured, probability)
