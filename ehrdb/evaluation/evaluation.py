"""A question answered: every model's runs, the paired tests between them, as tables, JSON and a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from math import isnan
from typing import Any

import polars as pl
from joblib import Memory

from ehrdb.errors import ConfigError
from ehrdb.evaluation.aggregate import Mean, few_shot_means, group_means
from ehrdb.evaluation.kept import keep
from ehrdb.evaluation.paired import PairedTest, compare, holm
from ehrdb.evaluation.question import Question
from ehrdb.evaluation.run import Run, check_classes, evaluate
from ehrdb.evaluation.tables import side_by_side
from ehrdb.prediction.heads import MAX_ITER, Trainer
from ehrdb.prediction.sampling import ALL
from ehrdb.prediction.targets import Target

FEW_PATIENTS = 30
"""Fewer validation or test patients than this are worth a warning."""

Tell = Callable[[str, int, int], None]
"""Called with a model's name, its heads that are done, and how many there are to be."""


@dataclass(frozen=True)
class Evaluation:
    """What came of a question: runs by model, the evaluated one first; paired tests of it against each other.

    `tests` holds the other model's name with each test; p values are adjusted together (Holm), as the paper does.
    """

    question: Question
    runs: dict[str, list[Run]]
    tests: list[tuple[str, PairedTest]]
    samples: str

    @property
    def targets(self) -> list[Target]:
        """The evaluated model's."""
        return next(iter(self.question.targets.values()))

    @property
    def own(self) -> list[Run]:
        """The evaluated model's runs."""
        return next(iter(self.runs.values()))

    def scores(self) -> pl.DataFrame:
        """A row for each model, task, k (-1: every row) and replicate: C, and each metric with its 95 % interval."""
        return pl.DataFrame(
            [
                {"model": name, "task": run.task, "k": run.k, "replicate": run.replicate, "best_c": run.params.get("C")}
                | {
                    metric + ("" if part == "score" else f"_{part}"): estimate[part]
                    for metric, estimate in asdict(run.metrics).items()
                    for part in ("score", "lower", "upper")
                }
                for name, runs in self.runs.items()
                for run in runs
            ]
        )

    def means(self) -> pl.DataFrame:
        """A row for each model, group of tasks and k: mean AUROC with its band; of several groups their mean too."""
        return pl.DataFrame(
            [
                {"model": name, "group": group, "k": k, **asdict(mean)}
                for name, runs in self.runs.items()
                for (group, k), mean in _means(runs).items()
            ]
        )

    def table(self) -> pl.DataFrame:
        """The same as the paper prints it: a row for each model and k, a column for each group (`side_by_side`)."""
        means = {name: _means(runs) for name, runs in self.runs.items()}
        return side_by_side(means, [target.task for target in self.targets])

    def paired_tests(self) -> pl.DataFrame:
        """A row for each paired test: against whom, the difference of AUROC with its interval, p, the verdict."""
        return pl.DataFrame([{"against": name, **asdict(test)} for name, test in self.tests])

    def _repr_html_(self) -> str:
        frames = {"scores": self.scores(), "paired tests": self.paired_tests()}
        return "".join(f"<h4>{name}</h4>{frame._repr_html_()}" for name, frame in frames.items() if frame.height)

    def probabilities(self) -> pl.DataFrame:
        """The evaluated model's test probabilities, every run's, in the order of the labels."""
        tests = {target.task: target.test for target in self.targets}
        return pl.concat(_of_run(run, tests[run.task]) for run in self.own)

    def report(self, title: str | None = None) -> str:
        """One self-contained HTML page. Needs the extra `report`."""
        from ehrdb.evaluation import report

        models = [report.Model(name, runs) for name, runs in self.runs.items()]
        provenance = {**self.question.provenance, "samples": self.samples}
        tests = [test for _, test in self.tests]
        title = title or f"Evaluation of {models[0].name}"
        return report.render(report.Report(title, self.targets, models, tests, self.question.patients, provenance))

    def as_json(self) -> Any:
        """The evaluated model's runs; with others, {results, others, paired_tests}. What does not exist is null."""
        (_, results), *others = ((name, [_plain(run) for run in runs]) for name, runs in self.runs.items())
        paired = [{"against": name, **asdict(test)} for name, test in self.tests]
        return {"results": results, "others": dict(others), "paired_tests": paired} if others else results

    def warnings(self) -> Iterator[str]:
        """Which tasks have too few patients for their figures to mean much."""
        yield from warnings(self.question)


def answer(
    question: Question,
    shots: Sequence[int],
    *,
    replicates: int = 5,
    workers: int = 1,
    draw: str = "patients",
    max_iter: int = MAX_ITER,
    memory: Memory | None = None,
    tell: Tell = lambda model, done, total: None,
) -> Evaluation:
    """Train and measure every model of the question, test the first against each other, and keep what is to be kept.

    draw: what intervals draw, patients or rows. max_iter: of the final fit of a logistic regression. The paper's on
    EHRSHOT are these; in the UK Biobank they are rows and 1000. What `memory` remembers of a target and k is not done
    again. Raises ConfigError for tasks that ask when (`timed.answer_timed`).
    """
    if question.intervals:
        raise ConfigError(
            f"{', '.join(question.intervals)} asks when, not whether",
            hint="Use `ehrdb evaluate` or db.evaluate_survival.",
        )
    remembered = (memory or Memory(None)).cache(_runs_of, ignore=["workers"])
    runs_of = partial(remembered, workers=workers, draw=draw)
    if max_iter != MAX_ITER:
        question = question.with_iterations(max_iter)
    runs = {name: _run(question, name, shots, replicates, runs_of, tell) for name in question.targets}
    samples = f"{replicates} for each k of {list(shots)}"
    targets = next(iter(question.targets.values()))
    found = Evaluation(question, runs, _tests(targets, runs), samples)
    if question.kept_in:
        keep(question.kept_in, found)
    return found


def warnings(question: Question) -> Iterator[str]:
    """Which tasks have too few patients for their figures to mean much."""
    for target in next(iter(question.targets.values())):
        chosen, tested = (len(set(split.patient_id.tolist())) for split in (target.val, target.test))
        if min(chosen, tested) < FEW_PATIENTS:
            yield (
                f"{target.task}: {chosen} validation and {tested} test patients are few: C is chosen, and the scores"
                " vary, by chance"
            )


def checked_shots(k: Sequence[int]) -> list[int]:
    """Each once. Raises ConfigError for what is no number of examples."""
    if any(value < 1 and value != ALL for value in k):
        raise ConfigError("k must be 1 or more, or -1 for every row", hint="For example: 8, 128 and -1.")
    return list(dict.fromkeys(k))


def _run(
    question: Question, name: str, shots: Sequence[int], replicates: int, runs_of: Callable[..., list[Run]], tell: Tell
) -> list[Run]:
    targets, trainer = question.targets[name], question.trainers[name]
    for target in targets:
        check_classes(target)
    total = len(targets) * sum(1 if k == ALL else replicates for k in shots)
    done: list[Run] = []
    for target, k in product(targets, shots):
        done += runs_of(target, k, replicates, trainer)
        tell(name, len(done), total)
    return done


def _runs_of(target: Target, k: int, replicates: int, trainer: Trainer, *, workers: int, draw: str) -> list[Run]:
    return list(evaluate([target], [k], replicates=replicates, workers=workers, trainer=trainer, draw=draw))


def _means(runs: Sequence[Run]) -> dict[tuple[str, int], Mean]:
    """Few-shot means; at every row the paper's of its bootstrap, with the mean of the groups."""
    few = few_shot_means((run.task, run.k, run.metrics.auroc.score) for run in runs if run.k != ALL)
    whole = group_means({run.task: run.metrics.auroc for run in runs if run.k == ALL})
    return few | {(group, ALL): mean for group, mean in whole.items()}


def _tests(targets: Sequence[Target], runs: dict[str, list[Run]]) -> list[tuple[str, PairedTest]]:
    (_, own), *others = runs.items()
    pairs = [(name, test) for name, other in others for test in compare(targets, own, other)]
    adjusted = holm([test for _, test in pairs])
    return [(name, test) for (name, _), test in zip(pairs, adjusted, strict=True)]


def _of_run(run: Run, test: Any) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "patient_id": test.patient_id,
            "prediction_time": test.prediction_time,
            "label": test.labels,
            "probability": run.probability,
        }
    ).select(
        "patient_id",
        "prediction_time",
        pl.lit(run.task).alias("task"),
        pl.lit(run.k, pl.Int64).alias("k"),
        pl.lit(run.replicate, pl.Int64).alias("replicate"),
        "label",
        "probability",
    )


def _plain(run: Run) -> dict[str, Any]:
    metrics = {
        name: {part: None if isnan(value) else value for part, value in estimate.items()}
        for name, estimate in asdict(run.metrics).items()
    }
    return {
        "task": run.task,
        "k": run.k,
        "replicate": run.replicate,
        "best_c": run.params.get("C"),
        **metrics,
    }
