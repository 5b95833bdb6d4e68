"""`ehrdb export meds | labels | predictions`, `ehrdb purge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ehrdb.cli.common import EncoderName, Json, current_database, err, out, print_json, require_folder, settings
from ehrdb.embedding import registry
from ehrdb.errors import ConfigError
from ehrdb.events.purge import purge as purge_patients

export_app = typer.Typer(no_args_is_help=True, help="Write records in a standard form.")


@export_app.callback()
def _export() -> None:
    """Write records in a standard form."""


@export_app.command()
def meds(
    directory: Annotated[Path, typer.Argument(help="New folder for the data set")],
    visit_column: Annotated[str, typer.Option(help="Name of the column with visits.")] = "visit_id",
) -> None:
    """Write all events as a MEDS 0.4 data set.

    Example: `ehrdb export meds exported/ --visit-column hadm_id`
    """
    # Imported here: files need polars, other commands do not.
    from ehrdb.events.meds import export_meds

    with current_database("export meds") as database:
        events = export_meds(database, directory, visit_column=visit_column)
    err.print(f"{events:,} events written to {directory}")


@export_app.command()
def labels(
    directory: Annotated[Path, typer.Argument(help="Folder for TASK.parquet; made if it is not there")],
    tasks: Annotated[list[str], typer.Argument(help="Tasks that have been labelled")],
) -> None:
    """Write labels in MEDS's label schema, one file a task.

    Example: `ehrdb export labels exported/ guo_los guo_icu`
    """
    from ehrdb.prediction.label_files import export_labels

    directory.mkdir(parents=True, exist_ok=True)
    with current_database("export labels") as database, database.transaction() as connection:
        for task in tasks:
            file = directory / f"{task}.parquet"
            err.print(f"{export_labels(connection, task, file):,} labels written to {file}")


@export_app.command()
def predictions(
    file: Annotated[Path, typer.Argument(help="New parquet file")],
    task: Annotated[str, typer.Argument(help="Task with a trained head")],
    encoder: EncoderName = None,
    split: Annotated[str, typer.Option(help="Of which patients: train, val, test or all.")] = "test",
) -> None:
    """Write a head's probabilities at the task's labels in the schema of meds-evaluation.

    Example: `ehrdb export predictions guo_los.parquet guo_los`, then `meds-evaluation-cli ...`
    """
    from ehrdb.prediction.label_files import export_predictions

    if split not in ("train", "val", "test", "all"):
        raise ConfigError(f"--split {split} is unknown", hint="Choose train, val, test or all.")
    require_folder(file)
    with current_database("export predictions") as database, database.transaction() as connection:
        registered = registry.find(connection, encoder or settings().encoder)
        rows = export_predictions(connection, registered, task, file, split=None if split == "all" else split)
    err.print(f"{rows:,} predictions written to {file}")


def purge(
    patient_ids: Annotated[list[int], typer.Argument(help="Patients to purge")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Remove everything of patients, everywhere, and prove it by counting.

    A later load leaves them out, and says so; `--allow-return` takes them in again.

    Example: `ehrdb purge 17 18 --yes`
    """
    if not yes:
        typer.confirm(f"Remove {len(patient_ids)} patients for good?", abort=True)
    with current_database("purge", patient_ids) as database:
        counts = purge_patients(database, patient_ids)
    if json:
        print_json({table: {"before": before, "after": after} for table, (before, after) in counts.items()})
    else:
        table = Table("table", "before", "after", show_edge=False)
        for name, (before, after) in counts.items():
            table.add_row(name, f"{before:,}", f"{after:,}")
        out.print(table)
