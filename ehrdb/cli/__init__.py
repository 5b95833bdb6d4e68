"""The `ehrdb` command."""

from __future__ import annotations

import sys
from typing import Annotated

import psycopg
import sqlalchemy.exc
import typer
from rich.markup import escape

from ehrdb import __version__
from ehrdb.cli import database as database_commands
from ehrdb.cli import (
    demo,
    encoder,
    evaluate,
    index,
    label,
    load,
    map,
    match,
    predict,
    records,
    refresh,
    search,
    task,
    timeline,
    train,
)
from ehrdb.cli.common import err
from ehrdb.errors import EhrdbError
from ehrdb.extras import missing_extra

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Patient timelines, LLM embeddings, similarity and prediction as features of PostgreSQL.",
    epilog="Settings: EHRDB_DATABASE_URL (unset: an embedded PostgreSQL), EHRDB_HOME, EHRDB_ENCODER, "
    "EHRDB_PROVIDERS, EHRDB_THREADS.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options that stand before any command."""


app.command()(demo.demo)
app.command()(database_commands.upgrade)
app.command()(database_commands.status)
app.command()(database_commands.doctor)
app.command(context_settings={"ignore_unknown_options": True})(database_commands.psql)
app.add_typer(load.app, name="load")
app.add_typer(records.export_app, name="export")
app.command()(records.purge)
app.add_typer(encoder.app, name="encoder")
app.command()(refresh.refresh)
app.command()(refresh.worker)
app.command()(refresh.retry)
app.add_typer(index.app, name="index")
app.add_typer(task.app, name="task")
app.command()(label.label)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(timeline.timeline)
app.command()(search.nearest)
app.command()(search.search)
app.command()(match.match)
app.command("map")(map.map_)
app.command()(predict.predict)


def main() -> None:
    """Run the command line; every error that is ours ends in one message and a truthful exit status."""
    try:
        app()
    except EhrdbError as error:
        _fail(error.message, error.hint)
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        _fail(missing.message, missing.hint)
    except sqlalchemy.exc.DBAPIError as error:
        if not isinstance(error.orig, psycopg.Error):
            raise
        _fail(*_describe(error.orig))
    except psycopg.Error as error:
        _fail(*_describe(error))


def _describe(error: psycopg.Error) -> tuple[str, str | None]:
    """A database error in words. Only what ehrdb itself raised is quoted: others may carry a record's values."""
    diagnosis = error.diag
    if diagnosis.sqlstate and diagnosis.sqlstate.startswith("EH"):
        return diagnosis.message_primary or "", diagnosis.message_hint
    return f"the database reports {type(error).__name__} ({diagnosis.sqlstate or 'no SQLSTATE'})", (
        "The server's log has the details; `ehrdb doctor` tests the connection."
    )


def _fail(message: str, hint: str | None) -> None:
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    if hint:
        err.print(f"[dim]hint:[/]  {escape(hint)}", soft_wrap=True)
    sys.exit(2)
