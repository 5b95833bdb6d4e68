"""`ehrdb train TASK...`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ehrdb.cli.common import EncoderName, Json, current_database, out, print_json, settings
from ehrdb.cli.refresh import progress_bar
from ehrdb.embedding import registry
from ehrdb.embedding.load import load_encoder
from ehrdb.errors import ConfigError

if TYPE_CHECKING:
    from ehrdb.prediction.training import TrainResult


def train(
    tasks: Annotated[list[str], typer.Argument(help="Tasks to train, as in `ehrdb label`")],
    encoder: EncoderName = None,
    k: Annotated[int, typer.Option("--k", help="Train on so many examples per class; -1 for every row.")] = -1,
    replicates: Annotated[
        int, typer.Option(help="With --k: samples to train on; scores are their means, the first head is kept.", min=1)
    ] = 1,
    calibrate: Annotated[
        bool, typer.Option(help="Add Platt scaling, fitted on the validation patients (the paper has none).")
    ] = False,
    json: Json = False,
) -> None:
    """Label tasks, embed every patient as of each prediction time, and train heads that SQL can score.

    Example: `ehrdb train guo_los`, then `select * from ehr.predict_cohort('guo_los')`
    """
    # Imported here: scikit-learn takes a second that other commands need not wait for.
    from ehrdb.prediction.training import train as train_task

    if k < 1 and k != -1:
        raise ConfigError("--k must be 1 or more, or -1 for every row")
    configured = settings()
    results: list[TrainResult] = []
    with current_database() as database:
        with database.transaction() as connection:
            registered = registry.find(connection, encoder or configured.encoder)
        for task in tasks:
            with progress_bar(f"embedding for {task}") as report:
                results += train_task(
                    database,
                    registered,
                    partial(load_encoder, configured),
                    task,
                    k=k,
                    replicates=replicates,
                    calibrate=calibrate,
                    progress=report.update,
                )
    if json:
        print_json(results)
    else:
        out.print(table(results))


def table(results: list[TrainResult]) -> Table:
    """Heads with their labels per split (positives in brackets) and test scores."""
    found = Table("task", "train", "val", "test", "C", "AUROC", "AUPRC", "Brier", show_edge=False)
    for result in results:
        counts = [f"{result.labels[s]} ({result.positives[s]})" for s in ("train", "val", "test")]
        scores = ["-" if score is None else f"{score:.3f}" for score in result.test.values()]
        found.add_row(result.target, *counts, f"{result.best_c:g}", *scores)
    return found
