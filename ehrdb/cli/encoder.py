"""`ehrdb encoder export | list | verify | activate | drop`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table

from ehrdb.cli.common import Json, current_database, err, out, print_json, settings
from ehrdb.encoder import registry
from ehrdb.encoder.load import encoder_directory, load_encoder
from ehrdb.encoder.manifest import Manifest
from ehrdb.errors import ConfigError
from ehrdb.queries import Queries

app = typer.Typer(no_args_is_help=True, help="Export, list, verify, activate and drop encoders.")
_queries = Queries("ehrdb.encoder")
Name = Annotated[str, typer.Argument(help="Encoder name, as in `ehrdb encoder list`")]


@app.command()
def export(
    model: Annotated[
        str, typer.Argument(help="Model directory or hub id; all-MiniLM-L6-v2 comes with the export extra.")
    ] = "all-MiniLM-L6-v2",
    name: Annotated[str | None, typer.Option(help="Name to register under. Default: the model's own.")] = None,
    precision: Annotated[str, typer.Option(help="fp32 or int8")] = "fp32",
    text_format: Annotated[str, typer.Option("--format", help="Text format the encoder reads.")] = "list_recent",
    accept_quality_loss: Annotated[
        bool, typer.Option(help="Register even where the export misses the quality gate; visibly marked.")
    ] = False,
    json: Json = False,
) -> None:
    """Turn a model into optimized ONNX, compare it with the original, and register it.

    Example: `ehrdb encoder export Qwen/Qwen3-Embedding-0.6B --precision int8`
    """
    export_model = _exporter()
    name = name or _default_name(model, precision)
    with current_database() as database:
        with database.transaction() as connection:
            samples = [text for (text,) in connection.execute(_queries.sample_texts, {"format": text_format})]
        target = encoder_directory(settings(), name)
        manifest = export_model(
            model,
            target,
            name=name,
            precision=precision,
            sample_texts=samples,
            accept_quality_loss=accept_quality_loss,
        )
        with database.transaction() as connection:
            registered = registry.register(connection, manifest, text_format)
    if json:
        print_json(manifest.model_dump(mode="json"))
    else:
        serving = "serving" if registered.is_serving else f"not serving: `ehrdb encoder activate {registered.name}`"
        err.print(f"registered {registered.name} ({registered.dimension} dimensions, {serving})")


@app.command("list")
def list_(json: Json = False) -> None:
    """List registered encoders."""
    with current_database() as database, database.transaction() as connection:
        encoders = registry.list_encoders(connection)
    if json:
        print_json(encoders)
        return
    table = Table("name", "dimension", "format", "serving", "digest", show_edge=False)
    for encoder in encoders:
        table.add_row(
            encoder.name,
            str(encoder.dimension),
            encoder.format,
            "yes" if encoder.is_serving else "",
            encoder.digest[:12],
        )
    out.print(table)


@app.command()
def activate(name: Name) -> None:
    """Make an encoder the serving one, at once and for every query."""
    with current_database() as database, database.transaction() as connection:
        registry.activate(connection, name)
    err.print(f"{name} is serving")


@app.command()
def drop(name: Name) -> None:
    """Remove an encoder with its vectors, heads and jobs from the database; its files stay."""
    with current_database() as database, database.transaction() as connection:
        registry.drop(connection, name)
    err.print(f"{name} is dropped; its files stay in {encoder_directory(settings(), name)}")


@app.command()
def verify(name: Name, json: Json = False) -> None:
    """Check an encoder's files against its manifest and the database's digest, and embed a test text."""
    configured = settings()
    with current_database() as database:
        with database.transaction() as connection:
            registered = registry.find(connection, name)
        encoder = load_encoder(configured, registered)
        encoder.encode(["essential hypertension"])
    manifest: Manifest = encoder.manifest
    if json:
        print_json(manifest.model_dump(mode="json"))
    else:
        err.print(f"{name}: files and digest are as registered, and it embeds")


def _exporter() -> Callable[..., Manifest]:
    try:
        from ehrdb.encoder.export import export as export_model
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"exporting needs the package {error.name}",
            hint="Install the extra: pip install 'ehrdb[export]'.",
        ) from None
    return export_model


def _default_name(model: str, precision: str) -> str:
    base = model.rstrip("/").rsplit("/", 1)[-1]
    return base if precision == "fp32" else f"{base}-{precision}"
