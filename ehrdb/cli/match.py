"""`ehrdb match`: controls for a cohort."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ehrdb.cli.common import (
    AsOf,
    EncoderName,
    Json,
    ToCohort,
    current_client,
    err,
    keep_cohort,
    out,
    print_json,
    require_folder,
)
from ehrdb.client import Matching
from ehrdb.private import private


def match(
    cases: Annotated[
        str, typer.Argument(help="SQL query that selects the cases' patient ids, or the id of an OMOP cohort.")
    ],
    candidates: Annotated[
        str | None,
        typer.Option(help="SQL query that selects who may be a control, or an OMOP cohort. Default: everybody else."),
    ] = None,
    ratio: Annotated[int, typer.Option(help="Controls for each case.", min=1)] = 1,
    caliper: Annotated[
        float | None, typer.Option(help="Largest cosine distance (1 - similarity) accepted.", min=0)
    ] = None,
    same_sex: Annotated[bool, typer.Option("--same-sex", help="Controls must have the case's sex.")] = False,
    age_band: Annotated[
        int | None, typer.Option(help="Controls must be in the case's age band of so many years.", min=1)
    ] = None,
    as_of: AsOf = None,
    encoder: EncoderName = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Write pairs to this CSV file: case_id, control_id, similarity.")
    ] = None,
    to_cohort: ToCohort = None,
    json: Json = False,
) -> None:
    """Match each case with its most similar patients, each used once, and show how alike the two groups are.

    Example: `ehrdb match "select patient_id from ehr.label where task = 'new_lupus' and value = 1" --ratio 4`
    """
    require_folder(to)
    with current_client() as db:
        found = db.match(
            cases,
            candidates,
            ratio=ratio,
            caliper=caliper,
            same_sex=same_sex,
            age_band=age_band,
            as_of=as_of,
            encoder=encoder,
        )
        keep_cohort(db, to_cohort, [pair["control_id"] for pair in found.pairs], as_of)
    if to:
        _write(to, found.pairs)
    if json:
        print_json({"pairs": found.pairs, "balance": [_of_cases(row) for row in found.balance]})
    else:
        _show(found, ratio)


def _of_cases(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the balance, its cohort called cases."""
    return {("mean_cases" if name == "mean_cohort" else name): value for name, value in row.items()}


def _write(path: Path, pairs: list[dict[str, Any]]) -> None:
    with private(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("case_id", "control_id", "similarity"))
        writer.writeheader()
        writer.writerows(pairs)


def _show(found: Matching, ratio: int) -> None:
    served = len({pair["case_id"] for pair in found.pairs})
    table = Table("covariate", "cases", "controls", "standardized difference", show_edge=False)
    for row in found.balance:
        figures = (row["mean_cohort"], row["mean_controls"], row["standardized_difference"])
        table.add_row(row["covariate"], *("-" if figure is None else f"{figure:.3f}" for figure in figures))
    out.print(table)
    err.print(f"{len(found.pairs)} controls for {served} of {found.cases} cases")
    missing = found.cases * ratio - len(found.pairs)
    if missing > 0:
        err.print(f"{missing} controls are missing: widen --caliper, --age-band or --candidates")
