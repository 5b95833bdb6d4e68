"""Encoders travel: from a folder into EHRDB_HOME, from there into the database, from the database to a new worker.

Every step checks the digests of the manifest: what arrives is what was exported, or nothing is.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ehrdb.config import Settings
from ehrdb.database import Connection, open_database
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.encoder.manifest import AGAIN, MANIFEST, Manifest, load_manifest
from ehrdb.encoder.writing import made_beside
from ehrdb.errors import DigestMismatch, EncoderError, ModelIncomplete
from ehrdb.queries import Queries

PART_BYTES = 4 << 20
_queries = Queries("ehrdb.embedding", "files.sql")


def encoder_directory(settings: Settings, name: str) -> Path:
    """Where an encoder's files are."""
    return settings.encoder_dir / name.replace("/", "--")


def adopt(settings: Settings, directory: Path, name: str | None) -> Manifest:
    """Copy an exported encoder into EHRDB_HOME, under `name` if given; returns its manifest.

    Raises ModelIncomplete or DigestMismatch for damaged files, EncoderError where that name has other files here.
    """
    manifest = load_manifest(directory)
    manifest = manifest.model_copy(update={"name": name or manifest.name})
    home = encoder_directory(settings, manifest.name)
    if (home / MANIFEST).exists():
        if load_manifest(home).digest != manifest.digest:
            raise EncoderError(
                f"{home} holds another encoder", hint="Choose another --name; vectors of two encoders are never mixed."
            )
        return manifest
    with made_beside(home) as work:
        for file in manifest.files:
            shutil.copyfile(directory / _plain(file), work / file)
        manifest.save(work)
        load_manifest(work)
    return manifest


def publish(connection: Connection, settings: Settings, encoder: RegisteredEncoder) -> int:
    """Put a registered model's files into the database, in the place of what is there; returns their bytes."""
    directory, manifest = registered_files(settings, encoder)
    connection.execute(_queries.unhurried)
    connection.execute(_queries.remove, {"encoder_id": encoder.encoder_id})
    size = 0
    with connection.cursor() as cursor, cursor.copy(_queries.copy_in) as copy:
        copy.set_types(["int4", "text", "int4", "bytea"])
        for file in manifest.files:
            with (directory / _plain(file)).open("rb") as stream:
                for number, part in enumerate(iter(lambda: stream.read(PART_BYTES), b"")):
                    copy.write_row((encoder.encoder_id, file, number, part))
                    size += len(part)
    return size


def registered_files(settings: Settings, encoder: RegisteredEncoder) -> tuple[Path, Manifest]:
    """The folder of a registered model and its manifest, fetched from the database where EHRDB_HOME has none.

    Raises DigestMismatch where the files are not those that the database knows, ModelIncomplete where there are
    none here and none are published, EncoderError where there is no model to run.
    """
    if encoder.kind != "model":
        raise EncoderError(
            f"{encoder.name} has no model to run (kind {encoder.kind})",
            hint="Its vectors come with `ehrdb encoder import`, or from the parts of the concatenation.",
        )
    directory = encoder_directory(settings, encoder.model)
    if not (directory / MANIFEST).exists() and settings.database_url:
        _fetch(settings, encoder, directory)
    manifest = load_manifest(directory)
    if manifest.digest != encoder.digest:
        raise DigestMismatch(
            f"{directory} holds another encoder than the database's {encoder.name}",
            hint="Copy the right files there, or export and register under another --name.",
        )
    return directory, manifest


def _fetch(settings: Settings, encoder: RegisteredEncoder, directory: Path) -> None:
    with (
        _alone(settings),
        open_database(settings) as database,
        database.transaction() as connection,
    ):
        row = connection.execute(_queries.published, {"encoder_id": encoder.encoder_id}).fetchone()
        if row is None:
            raise ModelIncomplete(
                f"no files of {encoder.name} in {directory}, and none in the database",
                hint=f"`ehrdb encoder register DIR` here, or `ehrdb encoder publish {encoder.name}` where they are.",
            )
        if (directory / MANIFEST).exists():  # fetched by another process meanwhile
            return
        connection.execute(_queries.unhurried)
        published, published_id = row
        manifest = Manifest.model_validate(published).model_copy(update={"name": encoder.model})
        with made_beside(directory) as work:
            for file in manifest.files:
                _write(connection, published_id, file, work / _plain(file))
            manifest.save(work)
            load_manifest(work)


def _write(connection: Connection, encoder_id: int, file: str, target: Path) -> None:
    values = {"encoder_id": encoder_id, "name": file}
    with connection.cursor() as cursor, cursor.copy(_queries.copy_out, values) as copy, target.open("wb") as stream:
        copy.set_types(["bytea"])
        for (part,) in copy.rows():
            stream.write(part)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One process of this home fetches at a time; the others find the files."""
    settings.encoder_dir.mkdir(parents=True, exist_ok=True)
    with (settings.encoder_dir / ".fetch").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _plain(name: str) -> str:
    """A manifest's file name, which must not lead out of its folder."""
    if Path(name).name != name or name == MANIFEST:
        raise ModelIncomplete(f"{name!r} in {MANIFEST} is not a plain file name", hint=AGAIN)
    return name
