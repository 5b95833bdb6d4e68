"""`ehrdb evaluate`."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import date
from hashlib import file_digest
from importlib.metadata import version
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

Embeddings = Annotated[Path, typer.Option(help="Parquet: patient_id, prediction_time, embedding, task if any.")]
LabelFile = Annotated[Path, typer.Option("--labels", help="Parquet: patient_id, prediction_time, task, value, split.")]
Shots = Annotated[
    list[int] | None,
    typer.Option("--k", help="Examples per class, -1 for every row; repeat it. Default: all of the paper's."),
]
Others = Annotated[
    list[Path] | None,
    typer.Option("--compare", help="Another encoder's embeddings to test against; repeat it."),
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
    embeddings: Embeddings,
    labels: LabelFile,
    k: Shots = None,
    replicates: Annotated[int, typer.Option(help="Samples for each k.", min=1)] = 5,
    others: Others = None,
    patients: PatientFile = None,
    probabilities: Probabilities = None,
    report: ReportFile = None,
    workers: Workers = 1,
    json: Json = False,
) -> None:
    """Evaluate vectors by the paper's protocol: few-shot heads, metrics with intervals, paired tests.

    Example: `ehrdb evaluate --embeddings vectors.parquet --labels labels.parquet --k 8 --k -1`
    """
    # Imported here: scikit-learn takes a second that other commands need not wait for.
    from ehrdb import evaluation

    shots = _shots(k or [*evaluation.SHOTS, evaluation.ALL])
    _check_folders(probabilities, report)
    if report:
        _require_report()
    models = _read_models(embeddings, labels, others or [])
    known = evaluation.read_patients(patients) if patients else None
    targets = next(iter(models.values()))
    if known is not None:
        from ehrdb.baselines import demographic_targets

        models["demographics only"] = demographic_targets(targets, known)
    runs = {
        name: list(evaluation.evaluate(of_model, shots, replicates=replicates, workers=workers))
        for name, of_model in models.items()
    }
    tests = _compare(targets, runs)
    if report:
        files = [file for file in (embeddings, labels, *(others or []), patients) if file]
        provenance = {**_provenance(files), "samples": f"{replicates} for each k of {shots}"}
        page = _page(targets, runs, [test for _, test in tests], known, provenance)
        _write(report, lambda file: file.write_text(page, encoding="utf-8"))
    own = next(iter(runs.values()))
    if probabilities:
        _write(probabilities, _probabilities(targets, own).write_parquet)
    _print(own, tests, compared=len(runs) > 1, json=json)


def _shots(k: Sequence[int]) -> list[int]:
    if any(value < 1 and value != -1 for value in k):
        raise ConfigError("--k must be 1 or more, or -1 for every row")
    return list(dict.fromkeys(k))


def _check_folders(*files: Path | None) -> None:
    for file in filter(None, files):
        if not file.absolute().parent.is_dir():
            raise ConfigError(f"{file.parent} is not a folder", hint="Create it first.")


def _read_models(embeddings: Path, labels: Path, others: Sequence[Path]) -> dict[str, list[Target]]:
    """Targets of every embeddings file by its name (its path where names repeat), the evaluated one first."""
    from ehrdb import evaluation

    asked = evaluation.read_labels(labels)
    files = list(dict.fromkeys([embeddings, *others]))
    stems = [file.stem for file in files]
    return {
        file.stem if stems.count(file.stem) == 1 else str(file): list(
            evaluation.match(asked, labels, evaluation.read_embeddings(file))
        )
        for file in files
    }


def _compare(targets: list[Target], runs: dict[str, list[Run]]) -> list[tuple[str, PairedTest]]:
    """Paired tests of the first model against every other, adjusted together as the paper does."""
    from ehrdb import evaluation

    (_, own), *others = runs.items()
    pairs = [(name, test) for name, other in others for test in evaluation.compare(targets, own, other)]
    adjusted = evaluation.holm([test for _, test in pairs])
    return [(name, test) for (name, _), test in zip(pairs, adjusted, strict=True)]


def _require_report() -> None:
    try:
        import ehrdb.report  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed", hint="pip install 'ehrdb[report]'") from None


def _page(
    targets: list[Target],
    runs: dict[str, list[Run]],
    tests: list[PairedTest],
    patients: pl.DataFrame | None,
    provenance: dict[str, str],
) -> str:
    from ehrdb import report

    models = [report.Model(name, of_model) for name, of_model in runs.items()]
    title = f"Evaluation of {models[0].name}"
    return report.render(report.Report(title, targets, models, tests, patients, provenance))


def _provenance(files: Iterable[Path]) -> dict[str, str]:
    found = {"written": date.today().isoformat()}
    for file in files:
        with file.open("rb") as content:
            found[file.name] = "sha256 " + file_digest(content, "sha256").hexdigest()
    packages = ("ehrdb", "numpy", "scipy", "scikit-learn")
    return {**found, "versions": ", ".join(f"{package} {version(package)}" for package in packages)}


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
    """Write a file whole or not at all."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        write(part)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _print(runs: list[Run], tests: list[tuple[str, PairedTest]], *, compared: bool, json: bool) -> None:
    if not json:
        out.print(_scores(runs))
        if tests:
            out.print(_verdicts(tests))
        return
    results = [_plain(run) for run in runs]
    paired = [{"against": name, **asdict(test)} for name, test in tests]
    print_json({"results": results, "paired_tests": paired} if compared else results)


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
    table = Table("AUROC", *map(_trained_on, shots), show_edge=False)
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


def _verdicts(tests: list[tuple[str, PairedTest]]) -> Table:
    table = Table("task", "trained on", "against", "AUROC difference", "p (Holm)", "verdict", show_edge=False)
    for name, test in tests:
        difference = f"{test.delta:+.3f} ({test.lower:+.3f} to {test.upper:+.3f})"
        table.add_row(test.task, _trained_on(test.k), name, difference, f"{test.p_holm:.4f}", test.outcome)
    return table


def _trained_on(k: int) -> str:
    return "all rows" if k == -1 else f"k = {k}"
