"""Counts of codes in the database: the records up to each label as features, and heads that read them beside vectors.

Such a head reads ln(1 + count): a code that was seen forty times says little more than one that was seen twenty times.
SQL counts the same (`ehrdb.count_logit`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack

from ehrdb.database import Connection
from ehrdb.errors import ConfigError, InputError
from ehrdb.frames import Kinds, copy_frame
from ehrdb.prediction.counts import PAPER_BINS, CountFeatures, age_in_years, count_features
from ehrdb.prediction.targets import SPLITS, Split, Target, with_features
from ehrdb.queries import Queries

_queries = Queries("ehrdb.prediction", "stored_counts.sql")
FEWEST_PATIENTS = 11
"""A count that fewer labelled patients have is left out: its text or range might tell of somebody."""


@dataclass(frozen=True)
class Counting:
    """How the baseline counts.

    bins: ages of an event that end a bin, nearest first. codes: those that count, for themselves and their ancestors
    (None: all). demographics: sex and race stand beside the counts, as in the paper's UK Biobank study.
    """

    bins: tuple[timedelta, ...] = PAPER_BINS
    codes: frozenset[str] | None = None
    demographics: bool = False


PAPER_COUNTING = Counting()
MOST_DAYS = 1_000_000
"""A bin without an end, more or less."""


def counting_of(days: Sequence[float] = (), codes: Path | None = None, *, demographics: bool = False) -> Counting:
    """How to count, by the bins' ends in days (none: the paper's) and a file of codes, one a line (None: all codes).

    Raises ConfigError for days that are no ends of bins, InputError naming a file that holds no codes.
    """
    if days and not all(0 < one < other <= MOST_DAYS for one, other in pairwise([*days, MOST_DAYS])):
        raise ConfigError(
            f"age bins end at ascending days, more than 0 and below {MOST_DAYS}", hint="For example: 30, 365, 9999."
        )
    bins = tuple(timedelta(days=end) for end in days) or PAPER_BINS
    return Counting(bins, read_codes(codes) if codes else None, demographics)


def read_codes(file: Path) -> frozenset[str]:
    """The codes in a file, one a line. Raises InputError where it cannot be read, or holds none."""
    hint = "A text file with one code a line."
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"it cannot be read ({type(error).__name__})", file=file, hint=hint) from None
    codes = frozenset(line.strip() for line in lines if line.strip())
    if not codes:
        raise InputError("it holds no codes", file=file, hint=hint)
    return codes


@dataclass(frozen=True)
class Counted:
    """What stands behind the vector's dimensions in a row of features: the age in years, then ln(1 + count).

    bins: the age bins' ends in days. counts: code, text, low, high, bin of each count (`CountFeatures.meanings`).
    """

    dimension: int
    bins: list[int]
    counts: pl.DataFrame


def count_targets(
    connection: Connection, targets: Sequence[Target], counting: Counting = PAPER_COUNTING
) -> list[Target]:
    """The same targets on the paper's count features of the records here: with age bins, texts and deciles.

    Demographics are no counts: `ehrdb.evaluation.baselines.with_demographics` puts them there.
    """
    points = _points(targets)
    features = _count(connection, points, _events(connection, _queries.events, points), counting)
    return with_features(targets, features.points, features.matrix)


def combined_targets(connection: Connection, targets: Sequence[Target]) -> tuple[list[Target], Counted]:
    """The same targets on their vectors with counts behind them, and what these count; targets share their vectors."""
    points = _points(targets)
    events = _events(connection, _queries.scored_events, points)
    features = _count(connection, points, events)
    matrix, meanings = _common(features)
    counts = hstack([csr_matrix(age_in_years(features.points, events)), matrix.log1p()], "csr", np.float32)
    vectors: NDArray[np.floating] = targets[0].features
    days = [bin_end.days for bin_end in PAPER_BINS]
    return _side_by_side(targets, with_features(targets, features.points, counts)), Counted(
        vectors.shape[1], days, meanings
    )


def store_weights(connection: Connection, head_id: int, counted: Counted, weights: NDArray[np.float64]) -> None:
    """Keep a head's weights of counts; `weights` are those of all its features."""
    connection.execute(_queries.weight_table)
    with connection.cursor().copy(_queries.copy_weights) as copy:
        for row in _weight_rows(counted, weights[counted.dimension + 1 :]):
            copy.write_row(row)
    connection.execute(_queries.store_weights, {"head_id": head_id})


def _weight_rows(counted: Counted, weights: NDArray[np.float64]) -> Iterator[tuple[Any, ...]]:
    """Number of the feature, what it counts, and its weight in each bin."""
    known = counted.counts.with_columns(weight=pl.Series(weights)).filter(pl.col("weight") != 0)
    what = ["code", "text", "low", "high"]
    by_feature = known.group_by(what, maintain_order=True).agg("bin", "weight")
    for number, (*meaning, bins, found) in enumerate(by_feature.iter_rows()):
        in_bin = dict(zip(bins, found, strict=True))
        yield number, *meaning, [in_bin.get(bin_number, 0.0) for bin_number in range(len(counted.bins))]


def _points(targets: Sequence[Target]) -> pl.DataFrame:
    splits = [getattr(target, name) for target in targets for name in SPLITS]
    keys = [pl.DataFrame({"patient_id": s.patient_id, "prediction_time": s.prediction_time}) for s in splits]
    return pl.concat(keys).unique().sort("patient_id", "prediction_time")


def _count(
    connection: Connection, points: pl.DataFrame, events: pl.DataFrame, counting: Counting = PAPER_COUNTING
) -> CountFeatures:
    ancestors = _ancestors(connection, _patients(points))
    return count_features(events, points, ancestors, bins=counting.bins, values=True, codes=counting.codes)


def _common(features: CountFeatures) -> tuple[csr_matrix, pl.DataFrame]:
    """Counts that enough patients have, without the age, and what they mean."""
    counts = features.matrix.tocsc()[:, 1:]
    patients = features.points["patient_id"].to_numpy()
    row, column = counts.nonzero()
    seen = pl.DataFrame({"column": column, "patient_id": patients[row]}).group_by("column").n_unique()
    kept = seen.filter(pl.col("patient_id") >= FEWEST_PATIENTS)["column"].sort().to_numpy()
    meanings = features.meanings.with_columns(bin=pl.Series(features.bins[1:], dtype=pl.Int64))
    return counts[:, kept].tocsr(), meanings[kept]


def _side_by_side(vectors: Sequence[Target], counts: Sequence[Target]) -> list[Target]:
    """Targets with one row of features for each pair of vector and counts that some label has."""
    both = list(zip(vectors, counts, strict=True))
    pairs = [_pairs(getattr(a, name), getattr(b, name)) for a, b in both for name in SPLITS]
    unique, place = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    matrix = hstack([csr_matrix(vectors[0].features[unique[:, 0]]), counts[0].features[unique[:, 1]]], "csr")
    rows = iter(np.split(place.ravel(), np.cumsum([len(pair) for pair in pairs])[:-1]))
    found = []
    for target in vectors:
        train, val, test = (replace(getattr(target, name), row=next(rows)) for name in SPLITS)
        found.append(replace(target, features=matrix, train=train, val=val, test=test))
    return found


def _pairs(vectors: Split, counts: Split) -> NDArray[np.int64]:
    return np.stack([vectors.row, counts.row], axis=1)


def _patients(points: pl.DataFrame) -> list[int]:
    return points["patient_id"].unique().to_list()


def _events(connection: Connection, statement: bytes, points: pl.DataFrame) -> pl.DataFrame:
    kinds: Kinds = {
        "patient_id": pl.Int64,
        "time": pl.Datetime("us"),
        "code": pl.String,
        "numeric_value": pl.Float32,
        "text_value": pl.String,
    }
    return copy_frame(connection, statement, {"patients": _patients(points)}, kinds)


def _ancestors(connection: Connection, patients: list[int]) -> pl.DataFrame:
    rows = connection.execute(_queries.ancestors, {"patients": patients}).fetchall()
    return pl.DataFrame(rows, schema={"code": pl.String, "ancestor": pl.String}, orient="row")
