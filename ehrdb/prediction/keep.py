"""Heads into the database, with where they come from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from pgvector import Vector

from ehrdb.database import Connection, register_vectors
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.prediction.calibration import Curve, Floats
from ehrdb.prediction.heads import FoldedHead
from ehrdb.prediction.stored_counts import Counted, store_weights
from ehrdb.prediction.tasks import Task
from ehrdb.queries import Queries

_queries = Queries("ehrdb.prediction", "training.sql")
_PACKAGES = ("numpy", "scikit-learn", "scipy")


@dataclass(frozen=True)
class Made:
    """A head, the share of its labels that are positive, and what else is recorded of it.

    counted: what it reads behind the vector; None: the vector alone.
    """

    target: str
    head: FoldedHead
    base_rate: float
    learned: dict[str, Any]
    counted: Counted | None = None


def keep_heads(
    connection: Connection, encoder: RegisteredEncoder, task: Task, prompt: int, made: Iterable[Made]
) -> None:
    """Store a task's heads; each takes the place of the one of before, whose probabilities go."""
    register_vectors(connection)
    found = connection.execute(_queries.provenance, {"task": task.name}).fetchone()
    assert found is not None
    versions = {package: version(package) for package in _PACKAGES}
    origin = {**found[0], "encoder_digest": encoder.digest, "versions": versions}
    for each in made:
        stored = connection.execute(
            _queries.store_head,
            {
                "task": task.name,
                "target": each.target,
                "encoder_id": encoder.encoder_id,
                "prompt_id": prompt,
                "base_rate": each.base_rate,
                "provenance": json.dumps({**each.learned, **origin}),
                **_scored_by(each.head, each.counted),
            },
        ).fetchone()
        assert stored is not None
        if each.counted:
            store_weights(connection, stored[0], each.counted, each.head.weights)


def _scored_by(head: FoldedHead, counted: Counted | None) -> dict[str, Any]:
    """What SQL makes a probability and its bounds of."""
    calibration, dimension = head.calibration, counted.dimension if counted else len(head.weights)
    return {
        "weights": Vector(head.weights[:dimension]),
        "count_bins": counted.bins if counted else None,
        "age_weight": float(head.weights[dimension]) if counted else None,
        "intercept": head.intercept,
        "slope": calibration.slope,
        "shift": calibration.shift,
        "curve_at": _numbers(calibration.curve, "at"),
        "curve_value": _numbers(calibration.curve, "value"),
        "bounds_at": _numbers(calibration.lower, "at"),
        "lower": _numbers(calibration.lower, "value"),
        "upper": _numbers(calibration.upper, "value"),
    }


def _numbers(curve: Curve | None, what: str) -> list[float] | None:
    found: Floats | None = getattr(curve, what, None)
    return None if found is None else found.tolist()
