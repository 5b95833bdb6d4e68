"""`ehrdb export meds | purge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ehrdb.cli.common import Json, current_database, err, out, print_json
from ehrdb.errors import RefreshError
from ehrdb.purge import purge as purge_patients
from ehrdb.sources import export_meds

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
    with current_database() as database:
        events = export_meds(database, directory, visit_column=visit_column)
    err.print(f"{events:,} events written to {directory}")


def purge(
    patient_ids: Annotated[list[int], typer.Argument(help="Patients to forget")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Remove everything of patients, everywhere, and prove it by counting.

    A later load brings them back unless their source forgets them too.

    Example: `ehrdb purge 17 18 --yes`
    """
    if not yes:
        typer.confirm(f"Remove {len(patient_ids)} patients for good?", abort=True)
    with current_database() as database:
        counts = purge_patients(database, patient_ids)
    if json:
        print_json({table: {"before": before, "after": after} for table, (before, after) in counts.items()})
    else:
        table = Table("table", "before", "after", show_edge=False)
        for name, (before, after) in counts.items():
            table.add_row(name, f"{before:,}", f"{after:,}")
        out.print(table)
    if any(after for _, after in counts.values()):
        raise RefreshError("some rows are still there", hint="Is somebody loading these patients right now?")
