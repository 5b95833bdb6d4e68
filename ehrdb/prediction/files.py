"""Vectors and labels from parquet files, checked and matched.

Errors name the file, the row (counted from 1), the patient and the task, never a value or a vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ehrdb.embedding.vector_files import Vectors, read_vectors
from ehrdb.parquet import is_time, read_keyed, read_timed, refuse, require, row_error
from ehrdb.prediction.targets import SPLITS, Split, Target, binary_targets, largest_value


@dataclass(frozen=True)
class Embeddings:
    """Vectors by patient and prediction time, and by task where every task has its own prompt.

    keys: frame with patient_id, minute, `task` if given, and `vector`, the row in `vectors` (rows,
    dimensions). vectors keep the file's float16, float32 or float64: the protocol's arithmetic follows it.
    """

    file: Path
    keys: pl.DataFrame
    vectors: Vectors


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
        raise row_error(file, row, "a second, different vector for the same patient and minute", "embedding")
    return Embeddings(file, first.filter(pl.col("row") == pl.col("vector")).drop("row"), vectors)


def read_labels(file: Path) -> pl.DataFrame:
    """Read labels as (row, patient_id, prediction_time, task, value 0 or 1, split); raises InputError.

    Rows are ordered by (patient_id, prediction_time), ties as in the file; chexpert is split into its
    findings.
    """
    frame = read_timed(file)
    value = frame.schema.get("value", pl.Null())
    require(file, "task", frame.schema.get("task") == pl.String, "text")
    require(file, "split", frame.schema.get("split") == pl.String, "text: train, val or test")
    require(file, "value", value.is_numeric() or value == pl.Boolean, "numbers or booleans")
    refuse(frame, file, "task", pl.col("task").is_null(), "task is missing")
    refuse(frame, file, "split", ~pl.col("split").is_in(SPLITS), "split is not train, val or test")
    refuse(frame, file, "split", pl.col("split").n_unique().over("patient_id") > 1, "patient in two splits")
    number = pl.col("value").cast(pl.Float64)
    fits = number.is_between(0, largest_value(pl.col("task"))) & (number % 1 == 0)
    refuse(frame, file, "value", ~fits, "value is not a class of the task")
    columns = ("row", "patient_id", "prediction_time", "task", pl.col("value").cast(pl.Int64), "split")
    return binary_targets(frame.select(columns)).sort("patient_id", "prediction_time", maintain_order=True)


def read_patients(file: Path) -> pl.DataFrame:
    """Read what subgroups and the demographics baseline need: patient_id, birth_time, sex, race.

    What is not known is null; raises InputError for a patient named twice.
    """
    frame = read_keyed(file)
    require(file, "birth_time", is_time(frame.schema.get("birth_time")), "timestamps without time zone")
    for column in ("sex", "race"):
        require(file, column, frame.schema.get(column) == pl.String, "text")
    refuse(frame, file, "patient_id", pl.col("patient_id").is_duplicated(), "more than one row")
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
    refuse(labels.sort("row"), file, "prediction_time", missing, f"no embedding in {embeddings.file}")
    for task in labels.sort("row", maintain_order=True)["task"].unique(maintain_order=True):
        rows = labels.filter(pl.col("task") == task)
        yield Target(task, embeddings.vectors, *splits_of(rows))


def splits_of(rows: pl.DataFrame) -> Iterator[Split]:
    """One target's labels by split; `vector`: the row of its features."""
    return (_split(rows, name) for name in SPLITS)


def _split(rows: pl.DataFrame, name: str) -> Split:
    rows = rows.filter(pl.col("split") == name)
    columns = ("vector", "value", "patient_id", "prediction_time")
    row, value, patient, time = (rows[column].to_numpy() for column in columns)
    return Split(row, value, patient, time)
