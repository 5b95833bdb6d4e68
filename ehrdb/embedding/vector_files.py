"""Vectors from parquet files, checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ehrdb.parquet import read_timed, refuse, require

Vectors = NDArray[np.floating]
_FLOATS = (pl.Float16, pl.Float32, pl.Float64)


def read_vectors(file: Path) -> tuple[pl.DataFrame, Vectors]:
    """Read patient_id, prediction_time, embedding and optionally task, as they are; raises InputError.

    Returns a frame with `row`, counted from 0, and the vectors (rows, dimensions).
    """
    frame = read_timed(file)
    return frame.drop("embedding", strict=False), _vectors(frame, file)


def _vectors(frame: pl.DataFrame, file: Path) -> Vectors:
    kind = frame.schema.get("embedding", pl.Null())
    is_vector = isinstance(kind, pl.List | pl.Array) and kind.inner in _FLOATS
    require(file, "embedding", is_vector, "lists of float16, float32 or float64")
    column = pl.col("embedding").cast(pl.List(kind.inner))  # type: ignore[attr-defined]
    frame = frame.with_columns(column, size=column.list.len())
    refuse(frame, file, "embedding", pl.col("size").is_null() | (pl.col("size") == 0), "no vector")
    size = frame.item(0, "size")
    refuse(frame, file, "embedding", pl.col("size") != size, "vector's dimensions differ from the first one's")
    vectors: Vectors = frame["embedding"].explode().to_numpy().reshape(len(frame), size)
    finite = pl.Series(np.isfinite(vectors).all(axis=1))
    refuse(
        frame.with_columns(finite=finite),
        file,
        "embedding",
        ~pl.col("finite"),
        "vector holds NaN or infinity",
    )
    return vectors
