"""Labels and predictions in files: MEDS's label schema, EHRSHOT's CSV, meds-evaluation's prediction schema."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from psycopg import sql

from ehrdb.database import Connection, Database, extension_schema, require_whole
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.errors import ConfigError, InputError, NotFound
from ehrdb.events.files import copy_file
from ehrdb.events.merge import check_problems
from ehrdb.frames import Kinds, copy_frame
from ehrdb.prediction.tasks import IMPORTED, LabelResult, Task, benchmark_tasks, find_task, label, put_task
from ehrdb.private import private
from ehrdb.queries import Queries

_queries = Queries("ehrdb.prediction", "label_files.sql")
_LARGEST = {"binary": 1, "multiclass": 3, "multilabel": 2**14 - 1}
_LABELED = "labeled_patients.csv"


def load_labels(database: Database, path: Path, task: str | None = None) -> list[LabelResult]:
    """Take labels from files in the place of what rules give; training and evaluation use them then.

    path: a parquet or CSV file, or a folder of them, with patient_id (or subject_id), prediction_time and value (or
    boolean_value, integer_value), for `task`; or, without `task`, EHRSHOT's folder of `TASK/labeled_patients.csv`.
    All or nothing. Raises InputError naming file, row, column and patient; ConfigError for a task that has a rule
    of the site's own.
    """
    with database.transaction() as connection:
        require_whole(connection)
        for name, files in _label_files(path, task).items():
            put_task(connection, _imported(connection, name))
            connection.execute(_queries.remove_labels, {"task": name})
            for file in files:
                _load_file(connection, find_task(connection, name), file)
        names = list(_label_files(path, task))
    return label(database, names)


def export_labels(connection: Connection, task: str, file: Path) -> int:
    """Write a task's labels in MEDS's label schema; returns their number."""
    found = find_task(connection, task)
    kinds: Kinds = {"subject_id": pl.Int64, "prediction_time": pl.Datetime("us"), "integer_value": pl.Int64}
    frame = copy_frame(connection, _queries.export_labels, {"task": task}, kinds)
    if found.kind == "binary":
        frame = frame.select(
            "subject_id", "prediction_time", pl.col("integer_value").cast(pl.Boolean).alias("boolean_value")
        )
    frame.write_parquet(private(file))
    return len(frame)


def export_predictions(
    connection: Connection, encoder: RegisteredEncoder, task: str, file: Path, *, split: str | None = "test"
) -> int:
    """Write a head's probabilities at a task's labels in meds-evaluation's schema; returns their number.

    split: of which patients, None for all. Raises NotFound where the encoder has no head of the task.
    """
    values = {"task": task, "encoder_id": encoder.encoder_id, "split": split}
    if connection.execute(_queries.has_head, values).fetchone() is None:
        raise NotFound(f"task {task} has no head for encoder {encoder.name}", hint=f"Run `ehrdb train {task}`.")
    kinds: Kinds = {
        "subject_id": pl.Int64,
        "prediction_time": pl.Datetime("us"),
        "boolean_value": pl.Int64,
        "predicted_boolean_probability": pl.Float64,
    }
    query = sql.SQL(_queries.export_predictions.decode()).format(vector=extension_schema(connection))
    frame = copy_frame(connection, query.as_bytes(connection), values, kinds)
    probability = pl.col("predicted_boolean_probability")
    frame.select(
        "subject_id",
        "prediction_time",
        pl.col("boolean_value").cast(pl.Boolean),
        (probability >= 0.5).alias("predicted_boolean_value"),
        probability,
    ).write_parquet(private(file))
    return len(frame)


def _label_files(path: Path, task: str | None) -> dict[str, list[Path]]:
    if task:
        files = sorted(f for f in path.rglob("*") if f.suffix in (".parquet", ".csv")) if path.is_dir() else [path]
        found = {task: files}
    else:
        found = {file.parent.name: [file] for file in sorted(path.glob(f"*/{_LABELED}"))}
    if not found or not all(file.is_file() for files in found.values() for file in files or [path / "none"]):
        raise InputError(
            "holds no labels",
            file=path,
            hint=f"Name a parquet or CSV file with --task, or a folder of TASK/{_LABELED}.",
        )
    return found


def _imported(connection: Connection, name: str) -> Task:
    """The task, marked as one whose labels come from files."""
    try:
        known = find_task(connection, name)
    except NotFound:
        return Task(name, "site", f"Labels from a file: {name}", {"shape": IMPORTED, "kind": "binary"})
    if name not in benchmark_tasks() and known.rule["shape"] != IMPORTED:
        raise ConfigError(f"task {name} has a rule of its own", hint=f"Run `ehrdb task remove {name}` first.")
    return Task(name, known.group, known.description, {"shape": IMPORTED, "kind": known.kind})


def _load_file(connection: Connection, task: Task, file: Path) -> None:
    copy_file(connection, file, "raw_label", required=("prediction_time",))
    values = {"file": str(file), "task": task.name, "largest": _LARGEST[task.kind]}
    connection.execute(_queries.stage_labels)
    connection.execute(_queries.problem_table)
    connection.execute(_queries.check_labels, values)
    check_problems(connection)
    connection.execute(_queries.add_labels, values)
    connection.execute(_queries.drop_staging)
