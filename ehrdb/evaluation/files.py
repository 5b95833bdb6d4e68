"""Vectors and labels from parquet files, checked and matched.

Errors name the file, the row (counted from 1), the patient and the task, never a value or a vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ehrdb.errors import InputError
from ehrdb.evaluation.run import SPLITS, Split, Target
from ehrdb.evaluation.targets import binary_targets, largest_value

Vectors = NDArray[np.floating]
_FLOATS = (pl.Float16, pl.Float32, pl.Float64)


@dataclass(frozen=True)
class Embeddings:
    """Vectors by patient and prediction time, and by task where every task has its own prompt.

    keys: frame with patient_id, minute, `task` if given, and `vector`, the row in `vectors` (rows,
    dimensions). vectors keep the file's float16, float32 or float64: the protocol's arithmetic follows it.
    """

    file: Path
    keys: pl.DataFrame
    vectors: Vectors


def read_vectors(file: Path) -> tuple[pl.DataFrame, Vectors]:
    """Read patient_id, prediction_time, embedding and optionally task, as they are; raises InputError.

    Returns a frame with `row`, counted from 0, and the vectors (rows, dimensions).
    """
    frame = _read_timed(file)
    return frame.drop("embedding", strict=False), _vectors(frame, file)


def read_embeddings(file: Path) -> Embeddings:
    """Vectors by patient and minute; raises InputError where one minute has two different ones."""
    frame, vectors = read_vectors(file)
    frame = frame.with_columns(minute=pl.col("prediction_time").dt.truncate("1m"))
    names = ["patient_id", "minute", *(["task"] if "task" in frame.columns else [])]
    first = frame.select(*names, pl.col("row").first().over(names).alias("vector"), "row")
    repeated = first.filter(pl.col("row") != pl.col("vector"))
    differs = (vectors[repeated["row"]] != vectors[repeated["vector"]]).any(axis=1)
    if differs.any():
        row = repeated.row(int(differs.argmax()), named=True)
        raise _row_error(file, row, "a second, different vector for the same patient and minute", "embedding")
    return Embeddings(file, first.filter(pl.col("row") == pl.col("vector")).drop("row"), vectors)


def read_labels(file: Path) -> pl.DataFrame:
    """Read labels as (row, patient_id, prediction_time, task, value 0 or 1, split); raises InputError.

    Rows are ordered by (patient_id, prediction_time), ties as in the file; chexpert is split into its
    findings.
    """
    frame = _read_timed(file)
    value = frame.schema.get("value", pl.Null())
    _require(file, "task", frame.schema.get("task") == pl.String, "text")
    _require(file, "split", frame.schema.get("split") == pl.String, "text: train, val or test")
    _require(file, "value", value.is_numeric() or value == pl.Boolean, "numbers or booleans")
    _refuse(frame, file, "task", pl.col("task").is_null(), "task is missing")
    _refuse(frame, file, "split", ~pl.col("split").is_in(SPLITS), "split is not train, val or test")
    _refuse(frame, file, "split", pl.col("split").n_unique().over("patient_id") > 1, "patient in two splits")
    number = pl.col("value").cast(pl.Float64)
    fits = number.is_between(0, largest_value(pl.col("task"))) & (number % 1 == 0)
    _refuse(frame, file, "value", ~fits, "value is not a class of the task")
    columns = ("row", "patient_id", "prediction_time", "task", pl.col("value").cast(pl.Int64), "split")
    return binary_targets(frame.select(columns)).sort("patient_id", "prediction_time", maintain_order=True)


def read_patients(file: Path) -> pl.DataFrame:
    """Read what subgroups and the demographics baseline need: patient_id, birth_time, sex, race.

    What is not known is null; raises InputError for a patient named twice.
    """
    frame = _read(file)
    _require(file, "birth_time", _is_time(frame.schema.get("birth_time")), "timestamps without time zone")
    for column in ("sex", "race"):
        _require(file, column, frame.schema.get(column) == pl.String, "text")
    _refuse(frame, file, "patient_id", pl.col("patient_id").is_duplicated(), "more than one row")
    return frame.select("patient_id", pl.col("birth_time").cast(pl.Datetime("us")), "sex", "race")


def match(labels: pl.DataFrame, file: Path, embeddings: Embeddings) -> Iterator[Target]:
    """Targets in the order of the label file; raises InputError for a label without a vector."""
    labels = labels.with_columns(minute=pl.col("prediction_time").dt.truncate("1m"), prompt=pl.col("task"))
    keys, names = embeddings.keys, ["patient_id", "minute"]
    if "task" in keys.columns:
        keys, names = keys.rename({"task": "prompt"}), [*names, "prompt"]
        # One vector serves all findings of an X-ray, unless the file has one for each.
        shared = ~pl.col("task").is_in(keys["prompt"].unique().to_list())
        parent = pl.col("task").str.replace("^chexpert_.*", "chexpert")
        labels = labels.with_columns(prompt=pl.when(shared).then(parent).otherwise("task"))
    labels = labels.join(keys, on=names, how="left", maintain_order="left")
    missing = pl.col("vector").is_null()
    _refuse(labels.sort("row"), file, "prediction_time", missing, f"no embedding in {embeddings.file}")
    for task in labels.sort("row", maintain_order=True)["task"].unique(maintain_order=True):
        rows = labels.filter(pl.col("task") == task)
        yield Target(task, embeddings.vectors, *(_split(rows, name) for name in SPLITS))


def _split(rows: pl.DataFrame, name: str) -> Split:
    rows = rows.filter(pl.col("split") == name)
    columns = ("vector", "value", "patient_id", "prediction_time")
    row, value, patient, time = (rows[column].to_numpy() for column in columns)
    return Split(row, value, patient, time)


def _vectors(frame: pl.DataFrame, file: Path) -> Vectors:
    kind = frame.schema.get("embedding", pl.Null())
    is_vector = isinstance(kind, pl.List | pl.Array) and kind.inner in _FLOATS
    _require(file, "embedding", is_vector, "lists of float16, float32 or float64")
    column = pl.col("embedding").cast(pl.List(kind.inner))  # type: ignore[attr-defined]
    frame = frame.with_columns(column, size=column.list.len())
    _refuse(frame, file, "embedding", pl.col("size").is_null() | (pl.col("size") == 0), "no vector")
    size = frame.item(0, "size")
    _refuse(frame, file, "embedding", pl.col("size") != size, "vector's dimensions differ from the first one's")
    vectors: Vectors = frame["embedding"].explode().to_numpy().reshape(len(frame), size)
    finite = pl.Series(np.isfinite(vectors).all(axis=1))
    _refuse(
        frame.with_columns(finite=finite),
        file,
        "embedding",
        ~pl.col("finite"),
        "vector holds NaN or infinity",
    )
    return vectors


def _read_timed(file: Path) -> pl.DataFrame:
    """The file with checked patient_id and prediction_time, and `row` counted from 0."""
    frame = _read(file)
    if frame.schema.get("prediction_time") == pl.String:
        parsed = pl.col("prediction_time").str.replace("T", " ").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False)
        _refuse(frame, file, "prediction_time", parsed.is_null(), "prediction_time is not YYYY-MM-DD HH:MM:SS")
        frame = frame.with_columns(prediction_time=parsed)
    wanted = "timestamps without time zone, or text"
    _require(file, "prediction_time", _is_time(frame.schema.get("prediction_time")), wanted)
    _refuse(frame, file, "prediction_time", pl.col("prediction_time").is_null(), "prediction_time is missing")
    return frame.with_columns(pl.col("prediction_time").cast(pl.Datetime("us")))


def _is_time(kind: pl.DataType | None) -> bool:
    return isinstance(kind, pl.Datetime) and kind.time_zone is None


def _read(file: Path) -> pl.DataFrame:
    """The file with checked patient_id, and `row` counted from 0."""
    try:
        frame = pl.read_parquet(file).rename({"subject_id": "patient_id"}, strict=False)
    except FileNotFoundError:
        raise InputError("no such file", file=file) from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"cannot be read as parquet ({type(error).__name__})", file=file) from None
    if frame.is_empty():
        raise InputError("has no rows", file=file)
    _require(file, "patient_id", frame.schema.get("patient_id", pl.Null()).is_integer(), "integers")
    frame = frame.with_row_index("row").with_columns(pl.col("row", "patient_id").cast(pl.Int64))
    _refuse(frame, file, "patient_id", pl.col("patient_id").is_null(), "patient_id is missing")
    return frame


def _require(file: Path, column: str, condition: bool, expected: str) -> None:
    if not condition:
        raise InputError(f"must be there and hold {expected}", file=file, column=column)


def _refuse(frame: pl.DataFrame, file: Path, column: str, bad: pl.Expr, message: str) -> None:
    """Raise for the first row where `bad` is true or unknown."""
    rows = frame.filter(bad.fill_null(True))
    if len(rows):
        raise _row_error(file, rows.row(0, named=True), message, column, len(rows))


def _row_error(file: Path, row: dict[str, Any], message: str, column: str, rows: int = 1) -> InputError:
    task = f", task {row['task']}" if row.get("task") else ""
    more = f" ({rows} such rows)" if rows > 1 else ""
    who = f"patient {row['patient_id']}{task}"
    return InputError(f"{who}: {message}{more}", file=file, row=row["row"] + 1, column=column)
