"""Probabilities that a model outside gave: stored, served and evaluated like those of a head.

Such a model is an encoder whose vector is the log odds, in two parts as vectors are kept at half precision, and a one,
so that none is zero; its head adds the two. So a probability is bound to the model's digest and to the moment of the
record that it was given of, and whatever reads heads reads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ehrdb.database import Connection, Database, hold_patients, require_whole
from ehrdb.embedding import registry
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.embedding.vectors import copy_vectors
from ehrdb.errors import ConfigError, EncoderError, NotFound
from ehrdb.prediction.heads import Features, FoldedHead, Labels
from ehrdb.prediction.keep import Made, keep_heads
from ehrdb.prediction.stored import stored_labels
from ehrdb.prediction.targets import task_of
from ehrdb.prediction.tasks import Task, find_task, label
from ehrdb.prediction.training import scores
from ehrdb.queries import Queries

Floats = NDArray[np.float64]
FLOOR = 1e-12
HEAD = FoldedHead(np.array([1.0, 1.0, 0.0]), 0.0)
"""Gives back the probability that a vector was made of."""
_queries = Queries("ehrdb.prediction", "stored.sql")
_registry = Queries("ehrdb.embedding", "registry.sql")


@dataclass(frozen=True)
class Given:
    """The head of a model that gave its probabilities: nothing is trained."""

    params: dict[str, float] = field(default_factory=dict)

    def probability(self, features: Features) -> Floats:
        """What the model gave, for every row."""
        return HEAD.probability(np.asarray(features))


def train_given(x_train: Features, y_train: Labels, x_val: Features, y_val: Labels) -> Given:
    """Take the model's probabilities as they are, whatever the sample."""
    return Given()


def vectors_of(probability: Floats) -> NDArray[np.float16]:
    """Probabilities as vectors (rows, 3)."""
    kept = np.clip(probability, FLOOR, 1 - FLOOR)
    logit = np.log(kept) - np.log1p(-kept)
    whole = logit.astype(np.float16)
    return np.stack([whole, (logit - whole).astype(np.float16), np.ones_like(whole)], axis=1)


def given_encoders(connection: Connection) -> dict[str, str]:
    """Names of the encoders that are such models, each with the target that it gave probabilities of."""
    return dict(connection.execute(_queries.given_encoders).fetchall())


def labelled(database: Database, target: str) -> tuple[Task, pl.DataFrame]:
    """A target's task, and its labels, made where they are missing: one row for each patient and moment.

    target: a task, or a finding of a chest X-ray. Raises NotFound, ConfigError for a task that asks when.
    """
    label(database, [task_of(target)])
    with database.transaction() as connection:
        require_whole(connection)
        task = find_task(connection, task_of(target))
        if task.kind == "survival":
            raise ConfigError(f"{target} asks when, not whether", hint="Use `ehrdb train`.")
        rows = stored_labels(connection, [target])
    if task.kind == "multilabel" and target == task.name:
        raise NotFound(f"{target} is of several findings", hint="Name one: chexpert_edema.")
    return task, rows


def keep_given(
    database: Database,
    task: Task,
    target: str,
    name: str,
    digest: str,
    rows: pl.DataFrame,
    probability: Floats,
    learned: dict[str, Any],
) -> dict[str, float | None]:
    """Store probabilities at a target's labels (`stored_labels`) as the model `name`'s; returns the test scores.

    Another model takes the place of the one of that name, if that was of the same target. Raises EncoderError where the
    name belongs to something else.
    """
    tested = (rows["split"] == "test").to_numpy()
    test = scores(probability[tested], rows["value"].to_numpy()[tested])
    with database.transaction() as connection:
        require_whole(connection)
        encoder = _registered(connection, name, target, digest, learned["model"])
        hold_patients(connection)
        once = rows.with_row_index("place").unique(["patient_id", "prediction_time"], keep="first", maintain_order=True)
        copy_vectors(connection, once, vectors_of(probability)[once["place"].to_numpy()])
        connection.execute(_registry.import_vectors, {"encoder_id": encoder.encoder_id})
        made = Made(target, HEAD, float(rows["value"].mean() or 0), {**learned, "test": test})  # type: ignore[arg-type]
        keep_heads(connection, encoder, task, encoder.prompt_id, [made])
    return test


def _registered(connection: Connection, name: str, target: str, digest: str, model: str) -> RegisteredEncoder:
    known = next((each for each in registry.list_encoders(connection) if each.name == name), None)
    if known and given_encoders(connection).get(name) != target:
        raise EncoderError(
            f"the name {name} belongs to an encoder, or to probabilities of another task", hint="Choose another --name."
        )
    if known and known.digest == digest:
        return known
    if known:
        registry.drop(connection, name)
    values = {
        "name": name,
        "digest": digest,
        "dimension": len(HEAD.weights),
        "prompt_id": registry.prompt_id(connection, ""),
        "manifest": json.dumps({"source": model, "prompt_template": False, "gives": "probabilities"}),
        "may_serve": False,
    }
    connection.execute(_registry.register_import, values)
    return registry.find(connection, name)
