"""`ehrdb match`: controls for a cohort."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from psycopg import sql
from rich.table import Table

from ehrdb.cli.common import (
    AsOf,
    EncoderName,
    Json,
    current_database,
    err,
    out,
    print_json,
    require_folder,
    select_cohort,
    settings,
)
from ehrdb.database import Connection
from ehrdb.errors import ConfigError
from ehrdb.private import private
from ehrdb.queries import Queries

_queries = Queries("ehrdb.cli")
Pair = tuple[int, int, float]


@dataclass(frozen=True)
class Covariate:
    """How alike cases and controls are in one respect; a standardized difference below 0.1 in size is balanced."""

    covariate: str
    mean_cases: float | None
    mean_controls: float | None
    standardized_difference: float | None


def match(
    cases: Annotated[str, typer.Argument(help="SQL query that selects the cases' patient ids.")],
    candidates: Annotated[
        str | None, typer.Option(help="SQL query that selects who may be a control. Default: everybody else.")
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
    cohort_table: Annotated[
        str | None, typer.Option(help="Add the controls to this OMOP cohort table (SCHEMA.TABLE), made if missing.")
    ] = None,
    cohort_definition_id: Annotated[int | None, typer.Option(help="Their cohort_definition_id there.")] = None,
    json: Json = False,
) -> None:
    """Match each case with its most similar patients, each used once, and show how alike the two groups are.

    Example: `ehrdb match "select patient_id from ehr.label where task = 'new_lupus' and value = 1" --ratio 4`
    """
    if cohort_table and cohort_definition_id is None:
        raise ConfigError("--cohort-table needs --cohort-definition-id", hint="It tells this cohort from the others.")
    if cohort_table and "." not in cohort_table:
        raise ConfigError("--cohort-table needs a schema", hint=f"For example: --cohort-table results.{cohort_table}")
    require_folder(to)
    with current_database("match") as database, database.transaction() as connection:
        case_ids = select_cohort(connection, cases) or []
        if not case_ids:
            raise ConfigError("the query selects no cases", hint="Try it in `ehrdb psql`.")
        values = {
            "cohort": case_ids,
            "candidates": select_cohort(connection, candidates),
            "ratio": ratio,
            "caliper": caliper,
            "same_sex": same_sex,
            "age_band": age_band,
            "as_of": as_of or "infinity",
            "encoder": encoder or settings().encoder,
        }
        pairs: list[Pair] = connection.execute(_queries.match_cohort, values).fetchall()
        values["controls"] = [control for _, control, _ in pairs]
        balance = [Covariate(*row) for row in connection.execute(_queries.cohort_balance, values)]
        if cohort_table:
            _add_to_cohort_table(connection, cohort_table, {**values, "definition_id": cohort_definition_id})
    if to:
        _write(to, pairs)
    if json:
        print_json(
            {
                "pairs": [dict(zip(("case_id", "control_id", "similarity"), p, strict=True)) for p in pairs],
                "balance": balance,
            }
        )
    else:
        _show(len(set(case_ids)), ratio, pairs, balance)


def _add_to_cohort_table(connection: Connection, name: str, values: dict[str, object]) -> None:
    table = sql.Identifier(*name.split("."))
    for query in (_queries.create_cohort_table, _queries.insert_cohort):
        connection.execute(sql.SQL(query.decode()).format(table=table), values)


def _write(path: Path, pairs: list[Pair]) -> None:
    with private(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("case_id", "control_id", "similarity"))
        writer.writerows(pairs)


def _show(cases: int, ratio: int, pairs: list[Pair], balance: list[Covariate]) -> None:
    served = len({case for case, _, _ in pairs})
    table = Table("covariate", "cases", "controls", "standardized difference", show_edge=False)
    for row in balance:
        figures = (row.mean_cases, row.mean_controls, row.standardized_difference)
        table.add_row(row.covariate, *("-" if figure is None else f"{figure:.3f}" for figure in figures))
    out.print(table)
    err.print(f"{len(pairs)} controls for {served} of {cases} cases")
    if len(pairs) < cases * ratio:
        err.print(f"{cases * ratio - len(pairs)} controls are missing: widen --caliper, --age-band or --candidates")
