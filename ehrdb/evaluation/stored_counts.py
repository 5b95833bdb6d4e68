"""Count features from the database: the records up to each label, as the count baseline wants them."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ehrdb.database import Connection
from ehrdb.evaluation.baselines import with_features
from ehrdb.evaluation.counts import PAPER_BINS, count_features
from ehrdb.frames import Kinds, copy_frame
from ehrdb.prediction.targets import SPLITS, Target
from ehrdb.queries import Queries

_queries = Queries("ehrdb.evaluation")


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
