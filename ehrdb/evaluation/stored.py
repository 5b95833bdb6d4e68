"""Labels, vectors and baselines from the database, in the form that files have (`ehrdb.evaluation.files`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from pgvector.psycopg import register_vector

from ehrdb.baselines import with_features
from ehrdb.counts import PAPER_BINS, count_features
from ehrdb.database import Connection
from ehrdb.encoder.registry import RegisteredEncoder
from ehrdb.errors import TrainingError
from ehrdb.evaluation.files import Embeddings
from ehrdb.evaluation.run import SPLITS, Target
from ehrdb.evaluation.targets import binary_targets
from ehrdb.frames import Kinds, copy_frame
from ehrdb.queries import Queries

_queries = Queries("ehrdb.evaluation")
SOURCE = Path("ehr.label")
"""What errors about labels name in the place of a file."""


def stored_labels(connection: Connection, tasks: Sequence[str]) -> pl.DataFrame:
    """Labels of these tasks like `read_labels` gives them; raises TrainingError for a task without any."""
    rows = connection.execute(_queries.labels, {"tasks": list(tasks)}).fetchall()
    kinds: Kinds = {
        "patient_id": pl.Int64,
        "prediction_time": pl.Datetime("us"),
        "task": pl.String,
        "value": pl.Int64,
        "split": pl.String,
    }
    frame = pl.DataFrame(rows, schema=kinds, orient="row").with_row_index("row")
    for task in tasks:
        if not (frame["task"] == task).any():
            raise TrainingError(f"task {task} has no labels here", hint="See `ehrdb label`: what can be labelled?")
    return binary_targets(frame).sort("patient_id", "prediction_time", maintain_order=True)


def stored_embeddings(connection: Connection, encoder: RegisteredEncoder, prompts: dict[str, int]) -> Embeddings:
    """The encoder's vectors at all prediction times of tasks, each under its task's prompt (task: prompt_id)."""
    register_vector(connection)
    rows = []
    for task, prompt_id in prompts.items():
        values = {"encoder_id": encoder.encoder_id, "task": task, "prompt_id": prompt_id}
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


def count_targets(connection: Connection, targets: Sequence[Target]) -> list[Target]:
    """The same targets on the paper's count features of the records here: with age bins, texts and deciles."""
    splits = [getattr(target, name) for target in targets for name in SPLITS]
    keys = [pl.DataFrame({"patient_id": s.patient_id, "prediction_time": s.prediction_time}) for s in splits]
    points = pl.concat(keys).unique().sort("patient_id", "prediction_time")
    patients = points["patient_id"].unique().to_list()
    features = count_features(
        _events(connection, patients), points, _ancestors(connection, patients), bins=PAPER_BINS, values=True
    )
    return with_features(targets, features.points, features.matrix)


def _events(connection: Connection, patients: list[int]) -> pl.DataFrame:
    kinds: Kinds = {
        "patient_id": pl.Int64,
        "time": pl.Datetime("us"),
        "code": pl.String,
        "numeric_value": pl.Float32,
        "text_value": pl.String,
    }
    return copy_frame(connection, _queries.events, {"patients": patients}, kinds)


def _ancestors(connection: Connection, patients: list[int]) -> pl.DataFrame:
    rows = connection.execute(_queries.ancestors, {"patients": patients}).fetchall()
    return pl.DataFrame(rows, schema={"code": pl.String, "ancestor": pl.String}, orient="row")
