"""`ehrdb match`: controls for a cohort."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ehrdb.cli.common import (
    AsOf,
    At,
    CandidatesAt,
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
from ehrdb.errors import ConfigError
from ehrdb.private import private


def match(
    cases: Annotated[
        str | None,
        typer.Argument(
            help="SQL query that selects the cases' patient ids, or the id of an OMOP cohort; none with --at."
        ),
    ] = None,
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
    at: At = None,
    candidates_at: CandidatesAt = None,
    encoder: EncoderName = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Write pairs to this CSV file: case_id, control_id, similarity.")
    ] = None,
    to_cohort: ToCohort = None,
    json: Json = False,
) -> None:
    """Match each case with its most similar patients, each used once, and show how alike the two groups are.

    Example: `ehrdb match "select patient_id from ehr.label where task = 'new_lupus' and value = 1" --ratio 4`

    Example (OMOP cohorts, everybody at their own index date): `ehrdb match --at 7 --candidates-at 8 --ratio 4`
    """
    require_folder(to)
    _require_cases(cases, at, candidates_at, has_moment=bool(candidates or as_of))
    terms: dict[str, Any] = {"ratio": ratio, "caliper": caliper, "same_sex": same_sex, "age_band": age_band}
    with current_client() as db:
        if at:
            found = db.match_at(at, candidates_at, **terms, encoder=encoder)
        else:
            found = db.match(cases, candidates, **terms, as_of=as_of, encoder=encoder)
        controls = [pair["control_id"] for pair in found.pairs if pair["control_id"] is not None]
        keep_cohort(db, to_cohort, controls, as_of)
    if to:
        _write(to, found.pairs)
    if json:
        print_json({"pairs": found.pairs, "balance": [_of_cases(row) for row in found.balance]})
    else:
        _show(found, ratio)


def _require_cases(cases: str | None, at: str | None, candidates_at: str | None, *, has_moment: bool) -> None:
    """Cases by themselves, or cases and candidates with moments."""
    hint = 'ehrdb match "select patient_id from ..." --as-of 2020-01-01, or ehrdb match --at 7 --candidates-at 8'
    if (cases is None) == (at is None):
        raise ConfigError("name the cases, or --at, which says who and as of when", hint=hint)
    if (at is None) != (candidates_at is None) or (at and has_moment):
        raise ConfigError("--at and --candidates-at go together, without --candidates and --as-of", hint=hint)


def _of_cases(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the balance, its cohort called cases."""
    return {("mean_cases" if name == "mean_cohort" else name): value for name, value in row.items()}


def _write(path: Path, pairs: list[dict[str, Any]]) -> None:
    with private(path).open("w", encoding="utf-8", newline="") as file:
        names = list(pairs[0]) if pairs else ["case_id", "control_id", "similarity"]
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(pairs)


def _show(found: Matching, ratio: int) -> None:
    pairs = [pair for pair in found.pairs if pair["control_id"] is not None]
    served = len({(pair["case_id"], pair.get("case_as_of")) for pair in pairs})
    table = Table("covariate", "cases", "controls", "standardized difference", show_edge=False)
    for row in found.balance:
        figures = (row["mean_cohort"], row["mean_controls"], row["standardized_difference"])
        table.add_row(row["covariate"], *("-" if figure is None else f"{figure:.3f}" for figure in figures))
    out.print(table)
    err.print(f"{len(pairs)} controls for {served} of {found.cases} cases")
    missing = found.cases * ratio - len(pairs)
    if missing > 0:
        reasons = sorted({pair["reason"] for pair in found.pairs if pair.get("reason")})
        err.print(
            "".join(f"{reason}; " for reason in reasons)
            + f"{missing} controls are missing: widen --caliper, --age-band or --candidates"
        )
