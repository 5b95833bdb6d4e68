"""`ehrdb nearest | search`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from ehrdb.cli.common import AsOf, EncoderName, Json, current_database, out, print_json, select_cohort, settings
from ehrdb.database import register_vectors
from ehrdb.embedding import registry
from ehrdb.embedding.load import load_encoder
from ehrdb.errors import ConfigError
from ehrdb.queries import Queries
from ehrdb.search.answer import embed_query

_queries = Queries("ehrdb.cli")
Cohort = Annotated[str | None, typer.Option(help="Only the patient ids that this SQL query selects.")]
PatientId = Annotated[int, typer.Argument(help="patient_id, as in ehr.patient")]


def nearest(
    patient_id: PatientId,
    k: Annotated[int, typer.Option(help="How many neighbours.", min=1)] = 10,
    cohort: Cohort = None,
    as_of: AsOf = None,
    encoder: EncoderName = None,
    json: Json = False,
) -> None:
    """Show the patients most similar to one.

    Example: `ehrdb nearest 1 --k 5 --as-of 2020-01-01`

    Example: `ehrdb nearest 1 --cohort "select patient_id from ehr.patient where sex = 'F'"`
    """
    with current_database("nearest", [patient_id]) as database, database.transaction() as connection:
        values = {
            "patient_id": patient_id,
            "k": k,
            "cohort": select_cohort(connection, cohort),
            "as_of": as_of or "infinity",
            "encoder": encoder or settings().encoder,
        }
        rows = connection.execute(_queries.nearest, values).fetchall()
    _show(rows, json)


def search(
    text: Annotated[str, typer.Argument(help="A description of a patient in words.")],
    k: Annotated[int, typer.Option(help="How many patients.", min=1)] = 10,
    cohort: Cohort = None,
    encoder: EncoderName = None,
    json: Json = False,
) -> None:
    """Show the patients whose records are most like a description in words.

    The encoder is loaded for it here; from SQL, `call ehr.search_text(...)` asks a running worker.

    Example: `ehrdb search "72-year-old with heart failure and chronic kidney disease" --k 5`
    """
    if not text.strip():
        raise ConfigError("the description is empty", hint='For example: ehrdb search "heart failure".')
    configured = settings()
    with current_database("search") as database, database.transaction() as connection:
        register_vectors(connection)
        registered = registry.find(connection, encoder or configured.encoder)
        vector = embed_query(connection, registered, load_encoder(configured, registered), text)
        values = {"vector": vector, "k": k, "cohort": select_cohort(connection, cohort), "encoder": registered.name}
        rows = connection.execute(_queries.nearest_to_vector, values).fetchall()
    _show(rows, json)


def _show(rows: list[tuple[Any, ...]], json: bool) -> None:
    names = ("rank", "patient_id", "similarity", "as_of", "is_stale")
    if json:
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    table = Table(*names, show_edge=False)
    for rank, neighbour, similarity, known, stale in rows:
        table.add_row(str(rank), str(neighbour), f"{similarity:.4f}", str(known), "yes" if stale else "no")
    out.print(table)
