"""The `ehrdb` command."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ehrdb import __version__

# Each command with its place and its line in `ehrdb --help`: only the one that runs is imported, so that help and
# shell completion wait for no library. A test holds the lines to the docstrings.
COMMANDS = {
    "demo": ("demo:demo", "The whole story on 316 synthetic patients."),
    "upgrade": ("database:upgrade", "Bring the database's ehrdb schema to this version."),
    "status": ("database:status", "Show what is loaded and how far each encoder's embeddings have come."),
    "doctor": ("database:doctor", "Check everything that ehrdb needs, and say who must do what about each fault."),
    "sql": ("database:sql_app", "SQL for a database administrator."),
    "psql": ("database:psql", "Open psql on the configured database."),
    "check": ("check:app", "Read a source as a load would, write nothing, and say what is in it."),
    "load": ("load:app", "Load records from OMOP, MEDS, EHRSHOT or FHIR; again and again."),
    "export": ("records:export_app", "Write records in a standard form."),
    "purge": ("records:purge", "Remove everything of patients, everywhere, and prove it by counting."),
    "encoder": ("encoder:app", "Make encoders, take them from host to host, choose one."),
    "refresh": ("refresh:refresh", "Embed every patient whose text is new or changed; nothing else is touched."),
    "worker": ("refresh:worker", "Keep the serving encoder's embeddings up to date until stopped."),
    "retry": ("refresh:retry", "Give contents that failed, the given-up ones included, a new chance."),
    "repair": ("refresh:repair", "Compare what is kept by difference with the data, and put it right."),
    "index": ("index:app", "The HNSW index that search uses."),
    "task": ("task:app", "Tasks: the benchmark's 15 and your own."),
    "label": ("label:label", "Label tasks in SQL: who, when, with what outcome."),
    "describe": ("describe:describe", "Count patients, labels and codes: a study's first tables."),
    "train": ("train:train", "Label tasks, embed every patient as of each prediction time, and train heads."),
    "finetune": ("finetune:app", "Fine-tuned models, and decoders that are asked: probabilities like a head's."),
    "evaluate": ("evaluate:evaluate", "Evaluate an encoder by the paper's protocol."),
    "study": ("study:study", "Evaluate encoders x tasks x k x samples from one file."),
    "timeline": ("timeline:timeline", "Show a patient's record as text, as an encoder reads it."),
    "nearest": ("search:nearest", "Show the patients most similar to one."),
    "search": ("search:search", "Show the patients whose records are most like a description in words."),
    "match": ("match:match", "Match each case with its most similar patients."),
    "map": ("map:map_", "Draw the patients in two dimensions, alike ones close together."),
    "serve": (
        "serve:serve",
        "Serve the page: records as of any day, who is alike, what is probable.",
    ),
    "mcp": ("mcp:mcp", "Answer an assistant by the Model Context Protocol, over standard input and output."),
    "risk": (
        "predict:risk",
        "Show how a patient's risk developed: after every visit, or at moments, from what was known then.",
    ),
    "predict": (
        "predict:predict",
        "Show how probable a task's outcome is for a patient, for many, or keep everybody's.",
    ),
    "monitor": ("monitor:monitor", "Compare what heads predicted with what came about, month by month."),
    "explain": ("explain:explain", "Show which parts of a patient's record move a probability most."),
}


class Commands(TyperGroup):
    """The table above as a group of commands."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Their names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """A command's name and line, which is all that the help shows."""
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """The command that is to run, imported."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, imported(name), rest


@cache
def imported(name: str | None) -> Any:
    """A command with everything that it needs; None stays None."""
    if name not in COMMANDS:
        return None
    module, attribute = COMMANDS[name][0].split(":")
    found = getattr(import_module(f"ehrdb.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
        alone.command(name, context_settings={"ignore_unknown_options": name == "psql"})(found)
        found = alone
    return typer.main.get_command(found)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Settings: EHRDB_DATABASE_URL, EHRDB_HOME, EHRDB_ENCODER, EHRDB_PROVIDERS, EHRDB_THREADS, or the same in "
    "lower case in a file ehrdb.toml: here, in the user's or in the system's configuration folder. "
    "Exit status: 2 for an error, which `--json` prints as {error, hint}.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(help="Patient timelines, LLM embeddings, similarity and prediction as features of PostgreSQL.")
def _settings(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file. Default: ehrdb.toml, see below.")] = None,
) -> None:
    if config is not None:
        os.environ["EHRDB_CONFIG"] = str(config)


def main() -> None:
    """Run the command line; every error that is ours ends in one message and a truthful exit status."""
    try:
        _require_text()
        sys.exit(app(standalone_mode=False))
    except typer.Abort:
        sys.exit("Aborted.")
    except Exception as error:
        if hasattr(error, "format_message"):  # of the parser: a wrong option, a missing argument
            if not error.format_message():  # a group without a command, whose help is there already
                sys.exit(2)
            _fail(error.format_message(), _where_to_look(error))
        from ehrdb.failure import explain

        explained = explain(error)
        if explained is None:
            raise
        _fail(*explained)


def _require_text() -> None:
    """What is no UTF-8 is neither a name in a database nor to be printed."""
    words = {f"argument {place}": word for place, word in enumerate(sys.argv)}
    for name, word in (words | {k: v for k, v in os.environ.items() if k.startswith("EHRDB_")}).items():
        if not word.isascii() and any("\ud800" <= letter <= "\udfff" for letter in word):
            from ehrdb.errors import ConfigError

            raise ConfigError(f"{name} is not UTF-8", hint="Give files, names and settings in UTF-8.")


def _where_to_look(error: Any) -> str | None:
    context = getattr(error, "ctx", None)
    return f"See: {context.command_path} --help" if context else None


def _fail(message: str, hint: str | None) -> None:
    """To standard error for people, and with `--json` to standard output for programs."""
    from rich.text import Text

    from ehrdb.cli.common import err, print_json

    if "--json" in sys.argv:
        print_json({"error": message, "hint": hint})
    err.print(Text("error:", "bold red"), message, soft_wrap=True)
    if hint:
        err.print(Text("hint: ", "dim"), hint, soft_wrap=True)
    sys.exit(2)
