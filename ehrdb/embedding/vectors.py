"""Vectors made elsewhere (CLMBR-T-Base, another site's model), taken in from a parquet file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pgvector import HalfVector

from ehrdb.database import Connection, Database, hold_patients, register_vectors, require_whole
from ehrdb.embedding import registry
from ehrdb.embedding.vector_files import Vectors, read_vectors
from ehrdb.encoder.pooling import Floats
from ehrdb.errors import EncoderError, InputError
from ehrdb.queries import Queries

LARGEST = float(np.finfo(np.float16).max)  # vectors are stored at half precision
SMALLEST = float(np.finfo(np.float16).tiny)
_queries = Queries("ehrdb.embedding", "registry.sql")


@dataclass(frozen=True)
class ImportResult:
    """Rows of the file, and how many of them were new or differed from what was there."""

    encoder: str
    dimension: int
    rows: int
    changed: int


def import_vectors(database: Database, file: Path, name: str) -> ImportResult:
    """Take the file's vectors as those of the encoder `name`, which is registered if it is not known.

    The file has patient_id, prediction_time and embedding, as `ehrdb evaluate` reads it. A later file of the
    same name adds to the earlier ones and replaces vectors of the same patient and moment. All or nothing.
    Raises InputError naming file, row, column and patient, or EncoderError where the name belongs to another
    kind of encoder or another dimension.
    """
    frame, vectors = read_vectors(file)
    _check(frame, vectors, file)
    dimension = vectors.shape[1]
    with database.transaction() as connection:
        require_whole(connection)
        encoder = _register(connection, name, dimension, file)
        hold_patients(connection)
        copy_vectors(connection, frame, vectors)
        unknown = connection.execute(_queries.unknown_patient).fetchone()
        if unknown and unknown[2]:
            row, patient, count = unknown
            raise InputError(
                f"patient {patient} is not in the database ({count} such rows)",
                file=file,
                row=row,
                column="patient_id",
                hint="Load the patients first, or leave them out of the file.",
            )
        changed = connection.execute(_queries.import_vectors, {"encoder_id": encoder.encoder_id}).fetchone()
    assert changed is not None
    return ImportResult(name, dimension, len(frame), changed[0])


def _check(frame: pl.DataFrame, vectors: Vectors, file: Path) -> None:
    """What an encoder cannot have: vectors by task, two for one moment, too large or zero ones."""
    if "task" in frame.columns:
        raise InputError(
            "vectors differ by task", file=file, column="task", hint="Import one task's vectors under one name each."
        )
    repeated = frame.select("patient_id", "prediction_time").is_duplicated().to_numpy()
    _refuse(frame, repeated, file, "prediction_time", "more than one vector for this patient and moment")
    _refuse(
        frame, np.asarray(np.abs(vectors).max(axis=1) > LARGEST), file, "embedding", "beyond half precision (65504)"
    )
    largest = np.asarray(np.abs(vectors).max(axis=1))
    _refuse(frame, largest == 0, file, "embedding", "a vector of zeros")
    too_small = "too small for half precision (all below 0.00006): multiply all vectors by one factor, such as 1e6"
    _refuse(frame, largest < SMALLEST, file, "embedding", too_small)


def _refuse(frame: pl.DataFrame, bad: Any, file: Path, column: str, message: str) -> None:
    if bad.any():
        row = int(bad.argmax())
        patient = frame.item(row, "patient_id")
        raise InputError(f"patient {patient}: {message}", file=file, row=row + 1, column=column)


def _register(connection: Connection, name: str, dimension: int, file: Path) -> registry.RegisteredEncoder:
    known = next((each for each in registry.list_encoders(connection) if each.name == name), None)
    if known and (known.kind, known.dimension) != ("import", dimension):
        raise EncoderError(
            f"{name} is another encoder (kind {known.kind}, {known.dimension} dimensions)",
            hint="Choose another --name; vectors of two encoders are never mixed.",
        )
    if known:
        return known
    values = {
        "name": name,
        # Whose vectors these are, only the importer knows: the name stands for it.
        "digest": hashlib.sha256(f"import {name} {dimension}".encode()).hexdigest(),
        "dimension": dimension,
        "prompt_id": registry.prompt_id(connection, ""),
        "manifest": json.dumps({"source": file.name, "prompt_template": False}),
        "may_serve": True,
    }
    connection.execute(_queries.register_import, values)
    return registry.find(connection, name)


def copy_vectors(connection: Connection, frame: pl.DataFrame, vectors: Vectors) -> None:
    """Put vectors (rows, dimensions) of patients at moments where ehrdb.import_vectors finds them."""
    register_vectors(connection)
    connection.execute(_queries.imported_table)
    half: Floats = np.asarray(vectors, dtype=np.float32)
    with connection.cursor() as cursor, cursor.copy(_queries.copy_imported) as copy:
        copy.set_types(["int8", "timestamp", "halfvec", "int8"])
        rows = zip(frame["patient_id"], frame["prediction_time"], half, strict=True)
        for number, (patient, time, vector) in enumerate(rows, start=1):
            copy.write_row((patient, time, HalfVector(vector), number))
