"""`ehrdb evaluate`."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from itertools import product
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ehrdb.cli.common import EncoderName, Json, current_database, err, out, print_json, require_folder, settings
from ehrdb.cli.refresh import progress_bar
from ehrdb.embedding import registry
from ehrdb.embedding.load import load_encoder
from ehrdb.errors import ConfigError
from ehrdb.private import private

if TYPE_CHECKING:
    import polars as pl

    from ehrdb.evaluation import PairedTest, Run
    from ehrdb.evaluation.question import Question
    from ehrdb.prediction.targets import Target

FEW_PATIENTS = 30
"""Fewer validation or test patients than this are worth a warning."""


class Baseline(StrEnum):
    """What an encoder must beat."""

    COUNTS = "counts"
    DEMOGRAPHICS = "demographics"


Tasks = Annotated[list[str] | None, typer.Argument(help="Tasks of the database to evaluate, as in `ehrdb label`.")]
Baselines = Annotated[
    list[Baseline] | None,
    typer.Option("--baseline", help="Compare with code counts (two heads) or with age, sex and race; repeat it."),
]
Embeddings = Annotated[Path | None, typer.Option(help="Parquet: patient_id, prediction_time, embedding, task if any.")]
LabelFile = Annotated[
    Path | None, typer.Option("--labels", help="Parquet: patient_id, prediction_time, task, value, split.")
]
Shots = Annotated[
    list[int] | None,
    typer.Option("--k", help="Examples per class, -1 for every row; repeat it. Default: all of the paper's."),
]
Others = Annotated[
    list[str] | None,
    typer.Option("--compare", help="Another encoder to test against (with files: its embeddings); repeat it."),
]
PatientFile = Annotated[
    Path | None,
    typer.Option(
        "--patients",
        help="Parquet: patient_id, birth_time, sex, race; adds a demographics baseline, subgroups.",
    ),
]
Probabilities = Annotated[Path | None, typer.Option(help="Write the test probabilities here (parquet).")]
ReportFile = Annotated[Path | None, typer.Option("--report", help="Write one self-contained HTML file here.")]
Workers = Annotated[int, typer.Option(help="Processes; the numbers do not depend on it.", min=1)]


def evaluate(
    tasks: Tasks = None,
    encoder: EncoderName = None,
    baselines: Baselines = None,
    others: Others = None,
    embeddings: Embeddings = None,
    labels: LabelFile = None,
    patients: PatientFile = None,
    k: Shots = None,
    replicates: Annotated[int, typer.Option(help="Samples for each k.", min=1)] = 5,
    probabilities: Probabilities = None,
    report: ReportFile = None,
    workers: Workers = 1,
    json: Json = False,
) -> None:
    """Evaluate an encoder by the paper's protocol: few-shot heads, metrics with intervals, paired tests.

    With tasks: the database's labels and vectors, made where they are missing. With --embeddings and --labels: files.

    Example: `ehrdb evaluate guo_los guo_readmission --baseline counts --baseline demographics --report report.html`

    Example: `ehrdb evaluate --embeddings vectors.parquet --labels labels.parquet --k 8 --k -1`
    """
    # Imported here: scikit-learn takes a second that other commands need not wait for.
    from ehrdb.evaluation.question import from_files
    from ehrdb.prediction.sampling import ALL, SHOTS

    shots = _shots(k or [*SHOTS, ALL])
    require_folder(probabilities, report)
    if report:
        _require_report()
    if tasks and not (embeddings or labels or patients):
        question = _from_database(list(dict.fromkeys(tasks)), encoder, others or [], baselines or [])
    elif embeddings and labels and not (tasks or encoder or baselines):
        question = from_files(embeddings, labels, [Path(other) for other in others or []], patients)
    else:
        raise ConfigError(
            "name tasks to evaluate the database, or --embeddings and --labels to evaluate files",
            hint="For example: ehrdb evaluate guo_los --baseline counts",
        )
    targets = next(iter(question.targets.values()))
    _warn_of_few(targets)
    runs = {name: _run(question, name, shots, replicates, workers) for name in question.targets}
    tests = _compare(targets, runs)
    if report:
        provenance = {**question.provenance, "samples": f"{replicates} for each k of {shots}"}
        page = _page(targets, runs, [test for _, test in tests], question.patients, provenance)
        _write(report, lambda file: file.write_text(page, encoding="utf-8"))
    own = next(iter(runs.values()))
    if probabilities:
        _write(probabilities, _probabilities(targets, own).write_parquet)
    _print(runs, tests, json=json)


def _from_database(
    tasks: list[str], encoder: str | None, others: Sequence[str], baselines: Sequence[Baseline]
) -> Question:
    from ehrdb.evaluation.question import from_database
    from ehrdb.prediction.training import embed_labels

    load = partial(load_encoder, settings())
    with current_database("evaluate") as database:
        with database.transaction() as connection:
            encoders = [registry.find(connection, name) for name in (encoder or settings().encoder, *others)]
        prompts: dict[str, dict[str, int]] = {each.name: {} for each in encoders}
        for each, task in product(encoders, tasks):
            with progress_bar(f"embedding {task} with {each.name}") as bar:
                prompts[each.name][task] = embed_labels(database, each, load, task, progress=bar.update)
        with database.transaction() as connection:
            return from_database(connection, encoders, prompts, set(baselines))


def _run(question: Question, name: str, shots: list[int], replicates: int, workers: int) -> list[Run]:
    from ehrdb import evaluation
    from ehrdb.prediction.sampling import ALL

    targets, trainer = question.targets[name], question.trainers[name]
    total = len(targets) * sum(1 if k == ALL else replicates for k in shots)
    runs = evaluation.evaluate(targets, shots, replicates=replicates, workers=workers, trainer=trainer)
    done = []
    with progress_bar(f"heads on {name}") as bar:
        for run in runs:
            done.append(run)
            bar.update(len(done), total)
    return done


def _warn_of_few(targets: list[Target]) -> None:
    """Say which tasks have too few patients for their figures to mean much."""
    for target in targets:
        chosen, tested = (len(set(split.patient_id.tolist())) for split in (target.val, target.test))
        if min(chosen, tested) < FEW_PATIENTS:
            err.print(
                f"{target.task}: {chosen} validation and {tested} test patients are few: C is chosen, and the scores"
                " vary, by chance"
            )


def _shots(k: Sequence[int]) -> list[int]:
    if any(value < 1 and value != -1 for value in k):
        raise ConfigError("--k must be 1 or more, or -1 for every row")
    return list(dict.fromkeys(k))


def _compare(targets: list[Target], runs: dict[str, list[Run]]) -> list[tuple[str, PairedTest]]:
    """Paired tests of the first model against every other, adjusted together as the paper does."""
    from ehrdb import evaluation

    (_, own), *others = runs.items()
    pairs = [(name, test) for name, other in others for test in evaluation.compare(targets, own, other)]
    adjusted = evaluation.holm([test for _, test in pairs])
    return [(name, test) for (name, _), test in zip(pairs, adjusted, strict=True)]


def _require_report() -> None:
    import ehrdb.evaluation.report  # noqa: F401  # a missing extra is said before the work, not after it


def _page(
    targets: list[Target],
    runs: dict[str, list[Run]],
    tests: list[PairedTest],
    patients: pl.DataFrame | None,
    provenance: dict[str, str],
) -> str:
    from ehrdb.evaluation import report

    models = [report.Model(name, of_model) for name, of_model in runs.items()]
    title = f"Evaluation of {models[0].name}"
    return report.render(report.Report(title, targets, models, tests, patients, provenance))


def _probabilities(targets: list[Target], runs: list[Run]) -> pl.DataFrame:
    import polars as pl

    tests = {target.task: target.test for target in targets}
    return pl.concat(
        pl.DataFrame(
            {
                "patient_id": tests[run.task].patient_id,
                "prediction_time": tests[run.task].prediction_time,
                "label": tests[run.task].labels,
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
        for run in runs
    )


def _write(file: Path, write: Callable[[Path], Any]) -> None:
    """Write a file whole or not at all, for who runs this alone."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        write(private(part))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _print(runs: dict[str, list[Run]], tests: list[tuple[str, PairedTest]], *, json: bool) -> None:
    if not json:
        for name, of_model in runs.items():
            out.print(_scores(f"AUROC of {name}", of_model))
        if tests:
            out.print(_verdicts(tests))
        return
    results = [_plain(run) for run in next(iter(runs.values()))]
    paired = [{"against": name, **asdict(test)} for name, test in tests]
    print_json({"results": results, "paired_tests": paired} if len(runs) > 1 else results)


def _plain(run: Run) -> dict[str, Any]:
    """A run as JSON; what does not exist is null."""
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


def _scores(title: str, runs: list[Run]) -> Table:
    from ehrdb.evaluation import few_shot_means

    shots = list(dict.fromkeys(run.k for run in runs))
    table = Table(title, *map(_trained_on, shots), show_edge=False)
    by_task: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        by_task[run.task][run.k].append(run.metrics.auroc.score)
    for task, scores in by_task.items():
        table.add_row(task, *(f"{sum(scores[k]) / len(scores[k]):.3f}" for k in shots))
    table.add_section()
    means = few_shot_means((run.task, run.k, run.metrics.auroc.score) for run in runs)
    for group in dict.fromkeys(group for group, _ in means):
        cells = (f"{means[group, k].mean:.3f}" if (group, k) in means else "" for k in shots)
        table.add_row(Text.assemble((group, "bold"), " (mean)"), *cells)
    return table


def _verdicts(tests: list[tuple[str, PairedTest]]) -> Table:
    table = Table("task", "trained on", "against", "AUROC difference", "p (Holm)", "verdict", show_edge=False)
    for name, test in tests:
        difference = f"{test.delta:+.3f} ({test.lower:+.3f} to {test.upper:+.3f})"
        table.add_row(test.task, _trained_on(test.k), name, difference, f"{test.p_holm:.4f}", test.outcome)
    return table


def _trained_on(k: int) -> str:
    return "all rows" if k == -1 else f"k = {k}"
