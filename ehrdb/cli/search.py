"""`ehrdb nearest | search`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from ehrdb.cli.common import (
    AsOf,
    At,
    CandidatesAt,
    Cohort,
    EncoderName,
    Json,
    ToCohort,
    current_client,
    keep_cohort,
    out,
    print_json,
    require_who,
    show_rows,
)
from ehrdb.errors import ConfigError


def nearest(
    patient_id: Annotated[int | None, typer.Argument(help="patient_id, as in ehr.patient; none with --at")] = None,
    k: Annotated[int, typer.Option(help="How many neighbours.", min=1)] = 10,
    cohort: Cohort = None,
    as_of: AsOf = None,
    at: At = None,
    candidates_at: CandidatesAt = None,
    encoder: EncoderName = None,
    to_cohort: ToCohort = None,
    json: Json = False,
) -> None:
    """Show the patients most similar to one, or to each of many as of a moment of their own.

    Example: `ehrdb nearest 1 --k 5 --as-of 2020-01-01`

    Example: `ehrdb nearest --at cases.csv --candidates-at controls.csv`: rows of patient_id and as_of

    Example: `ehrdb nearest 1 --cohort 17 --to-cohort 18`: among OMOP cohort 17, and what is found is cohort 18

    Example: `ehrdb nearest 1 --cohort "select patient_id from ehr.patient where sex = 'F'"`
    """
    hint = "ehrdb nearest 1 --as-of 2020-01-01, or ehrdb nearest --at cases.csv"
    require_who(patient_id, at, cohort or as_of or to_cohort, hint)
    if candidates_at and not at:
        raise ConfigError("--candidates-at needs --at", hint="Among whom one patient is compared, --cohort says.")
    with current_client() as db:
        if patient_id is None:
            show_rows(db.nearest_at(at, k, candidates_at, encoder), json)
            return
        rows = db.nearest(patient_id, k, cohort, as_of, encoder)
        keep_cohort(db, to_cohort, [row["patient_id"] for row in rows], as_of)
    _show(rows, json)


def search(
    text: Annotated[str, typer.Argument(help="A description of a patient in words.")],
    k: Annotated[int, typer.Option(help="How many patients.", min=1)] = 10,
    cohort: Cohort = None,
    encoder: EncoderName = None,
    to_cohort: ToCohort = None,
    json: Json = False,
) -> None:
    """Show the patients whose records are most like a description in words.

    The encoder is loaded for it here; from SQL, `call ehr.search_text(...)` asks a running worker.

    Example: `ehrdb search "72-year-old with heart failure and chronic kidney disease" --k 5`
    """
    with current_client() as db:
        rows = db.nearest(text, k, cohort, encoder=encoder)
        keep_cohort(db, to_cohort, [row["patient_id"] for row in rows], None)
    _show(rows, json)


def _show(rows: list[dict[str, Any]], json: bool) -> None:
    if json:
        print_json(rows)
        return
    table = Table("rank", "patient_id", "similarity", "known_until", "is_stale", show_edge=False)
    for row in rows:
        stale = "yes" if row["is_stale"] else "no"
        table.add_row(
            str(row["rank"]), str(row["patient_id"]), f"{row['similarity']:.4f}", str(row["known_until"]), stale
        )
    out.print(table)
