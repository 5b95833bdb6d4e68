"""Parquet files of patients and moments, checked.

Errors name the file, the row (counted from 1), the patient and the task, never a value or a vector.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from ehrdb.errors import InputError


def read_timed(file: Path) -> pl.DataFrame:
    """The file with checked patient_id and prediction_time, and `row` counted from 0."""
    frame = read_keyed(file)
    if frame.schema.get("prediction_time") == pl.String:
        parsed = pl.col("prediction_time").str.replace("T", " ").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False)
        refuse(frame, file, "prediction_time", parsed.is_null(), "prediction_time is not YYYY-MM-DD HH:MM:SS")
        frame = frame.with_columns(prediction_time=parsed)
    wanted = "timestamps without time zone, or text"
    require(file, "prediction_time", is_time(frame.schema.get("prediction_time")), wanted)
    refuse(frame, file, "prediction_time", pl.col("prediction_time").is_null(), "prediction_time is missing")
    return frame.with_columns(pl.col("prediction_time").cast(pl.Datetime("us")))


def is_time(kind: pl.DataType | None) -> bool:
    """Whether a column holds timestamps without time zone."""
    return isinstance(kind, pl.Datetime) and kind.time_zone is None


def read_keyed(file: Path) -> pl.DataFrame:
    """The file with checked patient_id, and `row` counted from 0."""
    try:
        frame = pl.read_parquet(file, glob=False).rename({"subject_id": "patient_id"}, strict=False)
    except FileNotFoundError:
        raise InputError("no such file", file=file) from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"cannot be read as parquet ({type(error).__name__})", file=file) from None
    if frame.is_empty():
        raise InputError("has no rows", file=file)
    require(file, "patient_id", frame.schema.get("patient_id", pl.Null()).is_integer(), "integers")
    frame = frame.with_row_index("row").with_columns(pl.col("row", "patient_id").cast(pl.Int64))
    refuse(frame, file, "patient_id", pl.col("patient_id").is_null(), "patient_id is missing")
    return frame


def require(file: Path, column: str, condition: bool, expected: str) -> None:
    """Raise InputError where the column is not as expected."""
    if not condition:
        raise InputError(f"must be there and hold {expected}", file=file, column=column)


def refuse(frame: pl.DataFrame, file: Path, column: str, bad: pl.Expr, message: str) -> None:
    """Raise for the first row where `bad` is true or unknown."""
    rows = frame.filter(bad.fill_null(True))
    if len(rows):
        raise row_error(file, rows.row(0, named=True), message, column, len(rows))


def row_error(file: Path, row: dict[str, Any], message: str, column: str, rows: int = 1) -> InputError:
    """An error that names the row, its patient and task; `rows`: how many rows are such."""
    task = f", task {row['task']}" if row.get("task") else ""
    more = f" ({rows} such rows)" if rows > 1 else ""
    who = f"patient {row['patient_id']}{task}"
    return InputError(f"{who}: {message}{more}", file=file, row=row["row"] + 1, column=column)
