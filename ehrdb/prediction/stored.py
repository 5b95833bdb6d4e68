"""Labels and vectors from the database, in the form that files have (`ehrdb.prediction.files`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from ehrdb.database import Connection, register_vectors
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.errors import TrainingError
from ehrdb.frames import Kinds
from ehrdb.prediction.files import Embeddings
from ehrdb.prediction.targets import FINDING_TASKS, binary_targets, task_of
from ehrdb.queries import Queries

_queries = Queries("ehrdb.prediction", "stored.sql")
SOURCE = Path("ehr.label")
"""What errors about labels name in the place of a file."""


def stored_labels(connection: Connection, tasks: Sequence[str]) -> pl.DataFrame:
    """Labels of these tasks, or findings of X-rays, like `read_labels` gives them.

    Raises TrainingError for a task without any.
    """
    whole = list(dict.fromkeys(map(task_of, tasks)))
    rows = connection.execute(_queries.labels, {"tasks": whole}).fetchall()
    kinds: Kinds = {
        "patient_id": pl.Int64,
        "prediction_time": pl.Datetime("us"),
        "task": pl.String,
        "value": pl.Int64,
        "split": pl.String,
    }
    frame = pl.DataFrame(rows, schema=kinds, orient="row").with_row_index("row")
    for task in whole:
        if not (frame["task"] == task).any():
            raise TrainingError(f"task {task} has no labels here", hint="See `ehrdb label`: what can be labelled?")
    wanted = {*tasks, *(FINDING_TASKS if "chexpert" in tasks else ())}
    found = binary_targets(frame).filter(pl.col("task").is_in(wanted))
    return found.sort("patient_id", "prediction_time", maintain_order=True)


def stored_embeddings(connection: Connection, encoder: RegisteredEncoder, prompts: dict[str, int]) -> Embeddings:
    """The encoder's vectors at all prediction times of tasks or findings, each under its own prompt (prompt_id)."""
    register_vectors(connection)
    rows = []
    for target, prompt_id in prompts.items():
        values = {
            "encoder_id": encoder.encoder_id,
            "target": target,
            "task": task_of(target),
            "prompt_id": prompt_id,
        }
        rows += connection.execute(_queries.vectors, values, binary=True).fetchall()
    kinds: Kinds = {"patient_id": pl.Int64, "minute": pl.Datetime("us"), "task": pl.String}
    keys = pl.DataFrame([row[:3] for row in rows], schema=kinds, orient="row").with_row_index("vector")
    vectors = np.stack([row[3].to_numpy() for row in rows]) if rows else np.zeros((0, encoder.dimension))
    # Kept at half precision in the database; fitted as float32, like the paper's.
    return Embeddings(Path(encoder.name), keys, vectors.astype(np.float32))


def stored_patients(connection: Connection) -> pl.DataFrame:
    """Everybody's birth_time, sex and race, like `read_patients` gives them."""
    rows = connection.execute(_queries.patients).fetchall()
    kinds: Kinds = {"patient_id": pl.Int64, "birth_time": pl.Datetime("us"), "sex": pl.String, "race": pl.String}
    return pl.DataFrame(rows, schema=kinds, orient="row")
