"""`ehrdb train TASK...`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from ehrdb.cli.common import Beside, EncoderName, Json, current_database, err, out, print_json, settings
from ehrdb.cli.refresh import progress_bar
from ehrdb.embedding import registry
from ehrdb.embedding.load import each_model_once, load_encoder
from ehrdb.errors import ConfigError
from ehrdb.prediction import find_task

if TYPE_CHECKING:
    from ehrdb.prediction.boosting import BoostResult
    from ehrdb.prediction.calibration import Method
    from ehrdb.prediction.survival import SurvivalResult
    from ehrdb.prediction.training import TrainResult


def train(
    tasks: Annotated[
        list[str], typer.Argument(help="Tasks to train, as in `ehrdb label`; or one finding: chexpert_edema.")
    ],
    encoder: EncoderName = None,
    k: Annotated[int, typer.Option("--k", help="Train on so many examples per class; -1 for every row.")] = -1,
    replicates: Annotated[
        int, typer.Option(help="With --k: samples to train on; scores are their means, the first head is kept.", min=1)
    ] = 1,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Leave the heads uncalibrated, as the paper's are: a probability is a rank then."),
    ] = False,
    calibration: Annotated[
        Literal["platt", "isotonic"],
        typer.Option(help="platt: a logistic curve; isotonic: any that does not fall, from many hundred labels on."),
    ] = "platt",
    accept_few: Annotated[
        bool, typer.Option("--accept-few", help="Train even from fewer than 10 labels of a class (5 in validation).")
    ] = False,
    beside: Annotated[
        list[Beside] | None,
        typer.Option("--with", help="counts: of codes, by age and value, beside the vector in one head."),
    ] = None,
    boosting: Annotated[
        str | None,
        typer.Option(
            help="Instead of a head on vectors: LightGBM on counts of codes, its probabilities stored under this name."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Label tasks, embed every patient as of each prediction time, and train heads that SQL can score.

    Heads are calibrated on the validation patients, so that a probability is one and not a rank alone.

    Example: `ehrdb train guo_los`, then `select * from ehr.predict_cohort('guo_los')`

    Example: `ehrdb train guo_los --boosting los-trees`, then `ehrdb evaluate guo_los --k -1 --compare los-trees`
    """
    if boosting is not None:
        if len(tasks) != 1 or encoder or beside or k != -1 or replicates != 1:
            raise ConfigError(
                "--boosting is of one task, on counts of every row alone",
                hint="Leave out --encoder, --with, --k, --replicates.",
            )
        _boost(tasks[0], boosting, None if raw else calibration, accept_few, json)
        return
    # Imported here: scikit-learn takes a second that other commands need not wait for.
    from ehrdb.prediction.survival import train_survival
    from ehrdb.prediction.targets import task_of
    from ehrdb.prediction.training import train as train_task

    if k < 1 and k != -1:
        raise ConfigError("--k must be 1 or more, or -1 for every row")
    configured = settings()
    results: list[TrainResult] = []
    timed_results: list[SurvivalResult] = []
    with current_database() as database:
        with database.transaction() as connection:
            registered = registry.find(connection, encoder or configured.encoder)
            timed = {task for task in tasks if find_task(connection, task_of(task)).kind == "survival"}
        if timed and k != -1:
            raise ConfigError(
                f"--k is for tasks of classes; {', '.join(sorted(timed))} asks when", hint="Leave it out."
            )
        loader = each_model_once(partial(load_encoder, configured))
        for task in tasks:
            with progress_bar(f"embedding for {task}") as report:
                how: dict[str, Any] = {"calibrate": not raw, "calibration": calibration, "accept_few": accept_few}
                how |= {"with_counts": bool(beside), "progress": report.update}
                if task in timed:
                    timed_results.append(train_survival(database, registered, loader, task, **how))
                else:
                    results += train_task(database, registered, loader, task, k=k, replicates=replicates, **how)
    if json:
        print_json([*results, *timed_results])
    else:
        show(results, timed_results)


def _boost(task: str, name: str, calibration: Method | None, accept_few: bool, json: bool) -> None:
    """Train, store, and show what came of it."""
    from ehrdb.prediction.boosting import boost

    with current_database() as database:
        result = boost(database, task, name, calibration=calibration, accept_few=accept_few)
    if json:
        print_json(result)
        return
    chosen = ", ".join(f"{setting} {value:g}" for setting, value in result.params.items())
    found = Table("task", "train", "val", "test", "chosen", "AUROC", "AUPRC", "Brier", show_edge=False)
    found.add_row(result.target, *_counts(result), chosen, *_scores(result.test))
    out.print(found)
    _warn_of_few([result.target] if result.is_from_few else [])
    err.print(f"stored as {name}: `ehrdb predict {task} --encoder {name}`")


def show(results: list[TrainResult], timed_results: list[SurvivalResult]) -> None:
    """Print tables of heads, and warn of those made from few labels."""
    for found in (table(results), survival_table(timed_results)):
        if found.row_count:
            out.print(found)
    trained: list[TrainResult | SurvivalResult] = [*results, *timed_results]
    _warn_of_few([result.target for result in trained if result.is_from_few])


def _warn_of_few(targets: list[str]) -> None:
    if targets:
        err.print(f"made from few labels of a class, so do not rely on them: {', '.join(targets)}")


def _counts(result: TrainResult | SurvivalResult | BoostResult) -> list[str]:
    """Labels of each split, positives in brackets."""
    return [f"{result.labels[split]} ({result.positives[split]})" for split in ("train", "val", "test")]


def _scores(test: dict[str, float | None]) -> list[str]:
    return ["-" if score is None else f"{score:.3f}" for score in test.values()]


def survival_table(results: list[SurvivalResult]) -> Table:
    """Heads of time to an outcome, with the 95 % intervals of their test scores."""
    found = Table("task", "train", "val", "test", "days", "C index", "integrated Brier", show_edge=False)
    for result in results:
        scores = [
            "-" if score is None else f"{score.score:.3f} [{score.lower:.3f}, {score.upper:.3f}]"
            for score in result.test.values()
        ]
        found.add_row(result.target, *_counts(result), ", ".join(map(str, result.intervals)), *scores)
    return found


def table(results: list[TrainResult]) -> Table:
    """Heads with their labels per split (positives in brackets) and test scores."""
    found = Table("task", "train", "val", "test", "C", "AUROC", "AUPRC", "Brier", show_edge=False)
    for result in results:
        found.add_row(result.target, *_counts(result), f"{result.best_c:g}", *_scores(result.test))
    return found
