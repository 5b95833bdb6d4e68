"""`ehrdb evaluate`."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ehrdb.cli.common import Json, out, print_json
from ehrdb.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from ehrdb.evaluation import PairedTest, Run, Target

Shots = Annotated[
    list[int] | None,
    typer.Option("--k", help="Examples per class, -1 for every row; repeat it. Default: all of the paper's."),
]
Others = Annotated[
    list[Path] | None,
    typer.Option("--compare", help="Another encoder's embeddings to test against; repeat it."),
]


def evaluate(
    embeddings: Annotated[
        Path, typer.Option(help="Parquet: patient_id, prediction_time, embedding, task if any.")
    ],
    labels: Annotated[Path, typer.Option(help="Parquet: patient_id, prediction_time, task, value, split.")],
    k: Shots = None,
    replicates: Annotated[int, typer.Option(help="Samples for each k.", min=1)] = 5,
    others: Others = None,
    probabilities: Annotated[
        Path | None, typer.Option(help="Write the test probabilities here (parquet).")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; the numbers do not depend on it.", min=1)] = 1,
    json: Json = False,
) -> None:
    """Evaluate vectors by the paper's protocol: few-shot heads, metrics with intervals, paired tests.

    Example: `ehrdb evaluate --embeddings vectors.parquet --labels labels.parquet --k 8 --k -1`
    """
    # Imported here: scikit-learn takes a second that other commands need not wait for.
    from ehrdb import evaluation

    shots = _shots(k or [*evaluation.SHOTS, evaluation.ALL])
    _check_folder(probabilities)
    named = evaluation.read_labels(labels)
    targets = list(evaluation.match(named, labels, evaluation.read_embeddings(embeddings)))
    rivals = {
        file: list(evaluation.match(named, labels, evaluation.read_embeddings(file))) for file in others or []
    }

    def run(targets: list[Target]) -> list[Run]:
        return list(evaluation.evaluate(targets, shots, replicates=replicates, workers=workers))

    runs = run(targets)
    tests = _tests(targets, runs, {file: run(rival) for file, rival in rivals.items()})
    if probabilities:
        _write(probabilities, _probabilities(targets, runs).write_parquet)
    if json:
        results = [_plain(run) for run in runs]
        print_json({"results": results, "paired_tests": tests} if rivals else results)
    else:
        out.print(_scores(runs))
        if tests:
            out.print(_verdicts(tests))


def _shots(k: Sequence[int]) -> list[int]:
    if any(value < 1 and value != -1 for value in k):
        raise ConfigError("--k must be 1 or more, or -1 for every row")
    return list(dict.fromkeys(k))


def _check_folder(file: Path | None) -> None:
    if file and not file.absolute().parent.is_dir():
        raise ConfigError(f"{file.parent} is not a folder", hint="Create it first.")


def _tests(targets: list[Target], runs: list[Run], rivals: dict[Path, list[Run]]) -> list[dict[str, Any]]:
    """Paired tests against every rival, adjusted together as the paper does."""
    from ehrdb import evaluation

    pairs = [
        (file, test) for file, rival in rivals.items() for test in evaluation.compare(targets, runs, rival)
    ]
    adjusted: list[PairedTest] = evaluation.holm([test for _, test in pairs])
    return [{"against": str(file), **asdict(test)} for (file, _), test in zip(pairs, adjusted, strict=True)]


def _probabilities(targets: list[Target], runs: list[Run]) -> pl.DataFrame:
    import polars as pl

    tests = {target.task: target.test for target in targets}
    return pl.concat(
        pl.DataFrame(
            {
                "patient_id": tests[run.task].patient_id,
                "prediction_time": tests[run.task].prediction_time,
                "task": [run.task] * len(run.probability),
                "k": [run.k] * len(run.probability),
                "replicate": [run.replicate] * len(run.probability),
                "label": tests[run.task].labels,
                "probability": run.probability,
            }
        )
        for run in runs
    )


def _write(file: Path, write: Callable[[Path], Any]) -> None:
    """Write a file whole or not at all."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        write(part)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


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


def _scores(runs: list[Run]) -> Table:
    from ehrdb.evaluation import few_shot_means

    shots = list(dict.fromkeys(run.k for run in runs))
    table = Table("AUROC", *("all" if k == -1 else f"k = {k}" for k in shots), show_edge=False)
    by_task: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        by_task[run.task][run.k].append(run.metrics.auroc.score)
    for task, scores in by_task.items():
        table.add_row(task, *(f"{sum(scores[k]) / len(scores[k]):.3f}" for k in shots))
    table.add_section()
    means = few_shot_means((run.task, run.k, run.metrics.auroc.score) for run in runs)
    for group in dict.fromkeys(group for group, _ in means):
        cells = (f"{means[group, k].mean:.3f}" if (group, k) in means else "" for k in shots)
        table.add_row(f"[bold]{group}[/] (mean)", *cells)
    return table


def _verdicts(tests: list[dict[str, Any]]) -> Table:
    table = Table(
        "task", "k", "against", "AUROC difference", "95 % interval", "p (Holm)", "", show_edge=False
    )
    for test in tests:
        interval = f"{test['lower']:+.3f} to {test['upper']:+.3f}"
        k = "all" if test["k"] == -1 else str(test["k"])
        difference, p = f"{test['delta']:+.3f}", f"{test['p_holm']:.4f}"
        table.add_row(test["task"], k, test["against"], difference, interval, p, test["outcome"])
    return table
