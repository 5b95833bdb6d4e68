"""`ehrdb encoder export | tune | register | publish | verify | import | concatenate | list | activate | drop`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.table import Table

from ehrdb.cli.common import Json, current_database, err, out, print_json, settings
from ehrdb.database import Database
from ehrdb.embedding import registry
from ehrdb.embedding.files import adopt, encoder_directory, publish, registered_files
from ehrdb.encoder.manifest import Chunking, Manifest, Parity, Pooling, PromptPosition, Tuning
from ehrdb.encoder.source import DEFAULT_MODEL
from ehrdb.errors import ConfigError
from ehrdb.extras import missing_extra
from ehrdb.queries import Queries

app = typer.Typer(no_args_is_help=True, help="Make encoders, take them from host to host, choose one.")
_queries = Queries("ehrdb.embedding", "registry.sql")
Name = Annotated[str, typer.Argument(help="Encoder name, as in `ehrdb encoder list`")]
NewName = Annotated[str, typer.Option("--name", help="Name to register under.")]


@app.command()
def export(
    model: Annotated[
        str, typer.Argument(help="Model directory, GGUF file or hub id; all-MiniLM-L6-v2 needs no torch.")
    ] = DEFAULT_MODEL,
    name: Annotated[str | None, typer.Option(help="Name to register under. Default: the model's own.")] = None,
    precision: Annotated[
        str, typer.Option(help="fp32, fp16, bf16, int8, int7, int4, or auto: the fastest here.")
    ] = "fp32",
    text_format: Annotated[str, typer.Option("--format", help="Text format the encoder reads.")] = "list_recent",
    pooling: Annotated[
        Pooling | None, typer.Option(help="Token states to one vector. Default: as the model's own files say.")
    ] = None,
    chunking: Annotated[
        Chunking | None,
        typer.Option(
            help="Long texts: cut, or mean or concatenation of chunks; lines: each by itself; unit_mean: a language "
            "model's chunks, as in the paper. Default: by model."
        ),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Cut texts to so many tokens.", min=16)] = None,
    dimension: Annotated[
        int | None, typer.Option(help="Cut vectors to so many dimensions (Matryoshka models only).", min=1)
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="What to put in front of every text. Default: by model.")] = None,
    prompt_name: Annotated[str | None, typer.Option(help="The same, by its name in the model's own files.")] = None,
    onnx: Annotated[
        str | None, typer.Option(help="Take this graph of the model's own as it is: onnx/model_quantized.onnx")
    ] = None,
    prompt_position: Annotated[
        PromptPosition, typer.Option(help="first (the paper's), or last: all tasks of a timeline share one pass.")
    ] = "first",
    endpoint: Annotated[
        str | None,
        typer.Option(help="Do not export, but ask MODEL at this OpenAI-compatible address: http://gpu-server:8000/v1"),
    ] = None,
    instructions: Annotated[
        bool, typer.Option(help="With --endpoint: send a task's instruction in front of each text.")
    ] = False,
    accept_quality_loss: Annotated[
        bool, typer.Option(help="Register even where the export misses the quality gate; visibly marked.")
    ] = False,
    json: Json = False,
) -> None:
    """Turn a model into optimized ONNX, compare it with the original, and register it.

    Example: `ehrdb encoder export Qwen/Qwen3-Embedding-0.6B --precision int8 --dimension 512`
    """
    name = name or _default_name(model, precision)
    directory = encoder_directory(settings(), name)
    changes = (pooling, max_tokens, dimension, prompt, prompt_name, onnx, endpoint)
    is_default = (model, precision, prompt_position, *changes) == (DEFAULT_MODEL, "fp32", "first", *[None] * 7)
    is_default = is_default and chunking in (None, "mean", "lines")
    exporter = _asker() if endpoint else _converter() if is_default else _exporter()
    with current_database() as database:

        def register(manifest: Manifest) -> None:
            with database.transaction() as connection:
                registry.register(connection, manifest, text_format)

        if endpoint:
            limits = {"max_tokens": max_tokens, "prefix": prompt, "dimension": dimension, "instructed": instructions}
            given = {option: value for option, value in limits.items() if value is not None}
            server = _server(exporter, endpoint, model)
            manifest: Manifest = exporter.export_endpoint(server, directory, name=name, register=register, **given)
        elif is_default:
            manifest = exporter.convert(directory, name=name, chunking=chunking or "mean", register=register)
        else:
            manifest = exporter.export(
                model,
                directory,
                name=name,
                precision=precision,
                pooling=pooling,
                chunking=chunking,
                max_tokens=max_tokens,
                dimension=dimension,
                prompt=prompt,
                prompt_name=prompt_name,
                onnx=onnx,
                prompt_position=prompt_position,
                sample_texts=_sample_texts(database, text_format),
                accept_quality_loss=accept_quality_loss,
                register=register,
            )
        with database.transaction() as connection:
            registered = registry.find(connection, name)
    if json:
        print_json(manifest.model_dump(mode="json"))
    else:
        if manifest.parity:
            err.print(describe(manifest.parity))
        if manifest.tuning:
            err.print(describe_tuning(manifest.tuning))
        _show(registered)
        for remark in _remarks(manifest):
            err.print(remark)


@app.command()
def tune(
    name: Name,
    model: Annotated[
        str | None,
        typer.Option(help="Where the original model is now: directory, GGUF file or hub id. Default: its hub id."),
    ] = None,
    json: Json = False,
) -> None:
    """Time an encoder against other precisions of its model on this machine; run it where the worker runs.

    Where another one that passes the quality gate is faster, it is registered beside this one under a name of its
    own: its vectors are its own. This encoder, its vectors and its heads stay as they are.

    Example: `ehrdb encoder tune Qwen3-Embedding-0.6B-int8`
    """
    configured = settings()

    def elsewhere(precision: str) -> tuple[str, Path]:
        base = name.removesuffix(f"-{manifest.precision}").removesuffix("-auto")
        other = f"{base}-{precision}"
        return other, encoder_directory(configured, other)

    with current_database() as database:
        registered, directory, manifest = _with_files(database, name)

        def register(made: Manifest) -> None:
            with database.transaction() as connection:
                registry.register(connection, made, registered.format)

        tuned = _exporter().tune(
            model or manifest.source,
            directory,
            manifest,
            elsewhere=elsewhere,
            providers=configured.provider_list,
            threads=configured.threads,
            sample_texts=_sample_texts(database, registered.format),
            register=register,
        )
    if json:
        print_json(tuned.model_dump(mode="json"))
    else:
        err.print(describe_tuning(tuned.tuning))
        faster = f"registered {tuned.name}, which is faster here: `ehrdb encoder activate {tuned.name}`"
        err.print(f"{name} is the fastest here" if tuned.name == name else faster)


@app.command()
def register(
    directory: Annotated[Path, typer.Argument(help="Folder of an exported encoder, as under EHRDB_HOME/encoders")],
    name: Annotated[str | None, typer.Option(help="Name to register under. Default: the encoder's own.")] = None,
    text_format: Annotated[
        str | None, typer.Option("--format", help="Text format the encoder reads. Default: as registered, list_recent.")
    ] = None,
    publish_too: Annotated[
        bool, typer.Option("--publish", help="Put the files into the database too, for workers on other hosts.")
    ] = False,
    json: Json = False,
) -> None:
    """Take in an encoder that was exported elsewhere: its files, checked, into EHRDB_HOME, its name into the database.

    Needs no torch. Registering the same encoder again changes nothing.

    Example: `ehrdb encoder register /media/usb/Qwen3-Embedding-0.6B --publish`
    """
    configured = settings()
    with current_database() as database:
        manifest = adopt(configured, directory, name)
        with database.transaction() as connection:
            known = {each.name: each.format for each in registry.list_encoders(connection)}
            chosen = text_format or known.get(manifest.name, "list_recent")
            registered = registry.register(connection, manifest, chosen)
            if publish_too:
                publish(connection, configured, registered)
    if json:
        print_json(registered)
    else:
        _show(registered)


@app.command("publish")
def publish_(name: Name, json: Json = False) -> None:
    """Put an encoder's files into the database: a worker that has none fetches them from there, checked.

    A new host then needs nothing but EHRDB_DATABASE_URL. `ehrdb encoder drop` removes them with the encoder.

    Example: `ehrdb encoder publish all-MiniLM-L6-v2`
    """
    configured = settings()
    with current_database() as database, database.transaction() as connection:
        size = publish(connection, configured, registry.find(connection, name))
    if json:
        print_json({"name": name, "bytes": size})
    else:
        err.print(f"{name}: {size / 1e6:,.1f} MB are in the database")


@app.command()
def verify(
    name: Name,
    model: Annotated[
        str | None,
        typer.Option(help="Where the original model is now: directory, GGUF file or hub id. Default: its hub id."),
    ] = None,
    json: Json = False,
) -> None:
    """Check an encoder's files, and compare it once more with its original on this database's timelines.

    Passes the same quality gate as the export did, or ends with its figures and exit status 2.

    Example: `ehrdb encoder verify Qwen3-Embedding-0.6B-int8`
    """
    exporter = _exporter()
    with current_database() as database:
        registered, directory, manifest = _with_files(database, name)
        parity: Parity = exporter.verify(
            model or manifest.source,
            directory,
            manifest,
            _sample_texts(database, registered.format),
            settings().provider_list,
        )
    if json:
        print_json(parity.model_dump(mode="json"))
    else:
        err.print(f"{name}: files and digest are as registered")
        err.print(describe(parity))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Parquet: patient_id, prediction_time, embedding (list of floats)")],
    name: NewName,
    json: Json = False,
) -> None:
    """Take in vectors made elsewhere, such as CLMBR-T-Base, as an encoder that search and heads can use.

    A further file under the same name adds vectors and replaces those of the same patient and moment.

    Example: `ehrdb encoder import clmbr.parquet --name CLMBR-T-Base`
    """
    # Imported here: scikit-learn takes a second that other commands need not wait for.
    from ehrdb.embedding.vectors import import_vectors

    with current_database() as database:
        result = import_vectors(database, file, name)
    if json:
        print_json(result)
    elif result.changed:
        err.print(f"{name}: {result.changed} of {result.rows} vectors of {result.dimension} dimensions are new")
    else:
        err.print(f"{name}: nothing changed")


@app.command()
def concatenate(
    parts: Annotated[
        list[str],
        typer.Argument(metavar="PART...", help="Encoders in order; NAME:FORMAT: its model on texts of that format"),
    ],
    name: NewName,
    by_category: Annotated[
        bool, typer.Option("--modalities", help="Of one encoder: demographics, visits, conditions, ... each as a text.")
    ] = False,
    json: Json = False,
) -> None:
    """Register several encoders' vectors side by side as one encoder, kept up to date without a model.

    Example: `ehrdb encoder concatenate Qwen3-Embedding-8B CLMBR-T-Base --name qwen3-clmbr`

    Example (the paper's MEME): `ehrdb encoder concatenate all-MiniLM-L6-v2 --modalities --name minilm-meme`
    """
    if by_category and len(parts) != 1:
        raise ConfigError("--modalities takes one encoder")
    with current_database() as database, database.transaction() as connection:
        chosen = registry.modalities(parts[0]) if by_category else parts
        made = registry.concatenate(connection, name, *chosen)
    if json:
        print_json(made)
    else:
        err.print(f"registered {name} ({made.dimension} dimensions of {', '.join(chosen)})")


@app.command("list")
def list_(json: Json = False) -> None:
    """List registered encoders."""
    with current_database() as database, database.transaction() as connection:
        encoders = registry.list_encoders(connection)
    if json:
        print_json(encoders)
        return
    table = Table("name", "kind", "dimension", "format", "serving", "digest", show_edge=False)
    for encoder in encoders:
        table.add_row(
            encoder.name,
            encoder.kind,
            str(encoder.dimension),
            encoder.format,
            "yes" if encoder.is_serving else "",
            encoder.digest[:12],
        )
    out.print(table)


@app.command()
def activate(name: Name) -> None:
    """Make an encoder the serving one, at once and for every query; says which tasks have no head for it."""
    with current_database() as database, database.transaction() as connection:
        missing = registry.activate(connection, name)
    err.print(f"{name} is serving")
    if missing:
        err.print(f"it has no head for {', '.join(missing)}: `ehrdb train {' '.join(missing)}`")


@app.command()
def drop(name: Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Remove an encoder with its vectors, heads and jobs from the database; a model's files stay.

    Example: `ehrdb encoder drop all-MiniLM-L6-v2 --yes`
    """
    with current_database() as database:
        with database.transaction() as connection:
            _, patients, heads = registry.droppable(connection, name)
        if not yes:
            typer.confirm(f"Remove {name}, its vectors of {patients:,} patients and {heads} heads?", abort=True)
        with database.transaction() as connection:
            registry.drop(connection, name)
    directory = encoder_directory(settings(), name)
    err.print(f"{name} is dropped" + (f"; its files stay in {directory}" if directory.exists() else ""))


def describe(parity: Parity) -> str:
    """The figures of a comparison in one line."""
    accepted = " (a loss was accepted)" if parity.is_accepted_loss else ""
    original = parity.original_tokens_per_second
    compared = f", PyTorch {original:,.0f}" if original else ""
    return (
        f"against the original on {parity.texts} texts: mean cosine {parity.mean_cosine:.5f}, minimum "
        f"{parity.min_cosine:.5f}, overlap@10 {parity.overlap_at_10:.3f}; {parity.tokens_per_second:,.0f} tokens/s"
        f"{compared}{accepted}"
    )


def _server(asker: ModuleType, address: str, model: str) -> Any:
    configured = settings()
    asker.require_allowed(address, configured.endpoint_list)
    key = configured.endpoint_key.get_secret_value() if configured.endpoint_key else None
    return asker.Server(address, model, key)


def _asker() -> ModuleType:
    from ehrdb.encoder import endpoint

    return endpoint


def _with_files(database: Database, name: str) -> tuple[registry.RegisteredEncoder, Path, Manifest]:
    """An encoder that runs here, with its folder and manifest."""
    with database.transaction() as connection:
        registered = registry.find(connection, name)
    directory, manifest = registered_files(settings(), registered)
    _require_own(manifest)
    return registered, directory, manifest


def _require_own(manifest: Manifest) -> None:
    if manifest.endpoint:
        raise ConfigError(
            f"{manifest.name} is run by {manifest.endpoint}, which answers as it did at the export",
            hint="There is no graph here to compare or to time.",
        )


def describe_tuning(tuning: Tuning) -> str:
    """The machine, and what was tried on it, a line each."""
    lines = [f"{tuning.machine.processor}, {tuning.machine.cores} cores, {' '.join(tuning.machine.flags)}"]
    for tried in tuning.candidates:
        speed = f"{tried.tokens_per_second:,.0f} tokens/s" if tried.tokens_per_second else "misses the quality gate"
        lines.append(f"  {tried.precision}: {speed}, mean cosine {tried.mean_cosine:.5f}")
    return "\n".join(lines)


def _remarks(manifest: Manifest) -> list[str]:
    """What a user would not expect."""
    remarks = [f"in front of every text: {manifest.prefix!r}"] if manifest.prefix else []
    if manifest.similarity not in ("cosine", "dot") or (manifest.similarity == "dot" and not manifest.normalize):
        remarks.append(f"the model was trained to be compared by {manifest.similarity}; searches compare by cosine")
    return remarks


def _show(registered: registry.RegisteredEncoder) -> None:
    serving = "serving" if registered.is_serving else f"not serving: `ehrdb encoder activate {registered.name}`"
    err.print(f"registered {registered.name} ({registered.dimension} dimensions, {serving})")


def _sample_texts(database: Database, text_format: str) -> list[str]:
    with database.transaction() as connection:
        return [text for (text,) in connection.execute(_queries.sample_texts, {"format": text_format})]


def _converter() -> ModuleType:
    from ehrdb.encoder import convert

    return convert


def _exporter() -> ModuleType:
    try:
        from ehrdb.encoder import export as exporter
    except ModuleNotFoundError as error:
        raise missing_extra(error, "export") or error from None
    return exporter


def _default_name(model: str, precision: str) -> str:
    base = model.rstrip("/").rsplit("/", 1)[-1].removesuffix(".gguf")
    return base if precision == "fp32" else f"{base}-{precision}"
