"""Labels and predictions in files: MEDS's label schema, EHRSHOT's CSV, meds-evaluation's prediction schema."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from ehrdb.database import Connection, Database, hold_patients, require_whole
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.errors import ConfigError, InputError, NotFound
from ehrdb.events.files import copy_table, name_files
from ehrdb.events.folder import Part
from ehrdb.events.merge import check_problems
from ehrdb.frames import Kinds, copy_frame
from ehrdb.prediction.tasks import IMPORTED, LabelResult, Task, benchmark_tasks, find_task, label, put_task
from ehrdb.private import private
from ehrdb.queries import Queries

_queries = Queries("ehrdb.prediction", "label_files.sql")
_LARGEST = {"binary": 1, "multiclass": 3, "multilabel": 2**14 - 1}
_LABELED = "labeled_patients.csv"
_SHARD = re.compile(
    r"(part|shard|chunk)?[-_. ]*\d.*|train|training|tuning|val|validation|held_out|test|labels", re.IGNORECASE
)


def load_labels(database: Database, path: Path, task: str | None = None) -> list[LabelResult]:
    """Take labels from files in the place of what rules give; training and evaluation use them then.

    path: a parquet or CSV file, or a folder of them, with patient_id (or subject_id), prediction_time and value (or
    boolean_value, integer_value), for `task`; or, without `task`, EHRSHOT's folder of `TASK/labeled_patients.csv`.
    A file with a column `task` gives only that task's rows. All or nothing. Two values at one moment are refused,
    but for the benchmark's tasks, which have such. Raises InputError naming file, row, column and patient;
    ConfigError for a task that has a rule of the site's own.
    """
    names: list[str] = []
    with database.transaction() as connection:
        require_whole(connection)
        hold_patients(connection)
        for name, files in _label_files(path, task).items():
            put_task(connection, _imported(connection, name))
            connection.execute(_queries.remove_labels, {"task": name})
            _load_files(connection, find_task(connection, name), files)
            names.append(name)
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
    frame = copy_frame(connection, _queries.export_predictions, values, kinds)
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
    """Files of labels by task."""
    if task is None:
        found = {file.parent.name: [file] for file in sorted(path.glob(f"*/{_LABELED}"))}
    elif path.is_dir():
        found = {task: _files_of(path, task)}
    else:
        found = {task: [path]}
    if not found or not all(files and all(file.is_file() for file in files) for files in found.values()):
        raise InputError(
            "holds no labels",
            file=path,
            hint=f"Name a parquet or CSV file with --task, or a folder of TASK/{_LABELED}.",
        )
    return found


def _files_of(folder: Path, task: str) -> list[Path]:
    """A task's files in a folder: those named after it, or all, where they are the shards of one set of labels."""
    files = [
        f for f in sorted(folder.rglob("*")) if f.suffix in (".parquet", ".csv") and not f.name.startswith((".", "_"))
    ]
    named = [f for f in files if task in (f.stem, *f.relative_to(folder).parent.parts)]
    if named:
        return named
    others = sorted({name for f in files for name in _names(f.relative_to(folder)) if not _SHARD.fullmatch(name)})
    if len(others) > 1:
        raise InputError(
            f"holds labels of several tasks ({', '.join(others[:5])}), none of them named {task}",
            file=folder,
            hint="Name the file or folder of one task.",
        )
    return files


def _names(path: Path) -> tuple[str, ...]:
    """What in a path may name a task: the folders, or the file where there are none."""
    return path.parent.parts or (path.stem,)


def _imported(connection: Connection, name: str) -> Task:
    """The task, marked as one whose labels come from files."""
    try:
        known = find_task(connection, name)
    except NotFound:
        return Task(name, "site", f"Labels from a file: {name}", {"shape": IMPORTED, "kind": "binary"})
    if name not in benchmark_tasks() and known.rule["shape"] != IMPORTED:
        raise ConfigError(f"task {name} has a rule of its own", hint=f"Run `ehrdb task remove {name}` first.")
    return Task(name, known.group, known.description, {"shape": IMPORTED, "kind": known.kind})


def _load_files(connection: Connection, task: Task, files: list[Path]) -> None:
    copy_table(connection, [Part(file) for file in files], "label", required=("prediction_time",))
    values = {
        "task": task.name,
        "largest": _LARGEST[task.kind],
        # The benchmark's own labels differ within a minute, where two results do.
        "may_differ": task.name in benchmark_tasks(),
    }
    connection.execute(_queries.stage_labels, values)
    if connection.execute(_queries.any_label).fetchone() is None:
        raise InputError(f"holds no labels of task {task.name}", file=files[0])
    connection.execute(_queries.problem_table)
    connection.execute(_queries.check_labels, values)
    name_files(connection, "label", [str(file) for file in files])
    check_problems(connection)
    connection.execute(_queries.add_labels, values)
    connection.execute(_queries.drop_staging)
