"""Count features: how often each code was seen before a prediction time (the baseline of FEMR 0.0.20).

A code without a value counts for itself and all its ancestors. With `values`, a text counts for the pair of
code and text, a number for the decile of its code's values. Otherwise an event with a value counts for
nothing.

Counting works on ranges: events stand in one list by patient and time, and what a prediction time sees in one
age bin is a range of it. Ranges are sums of the segments between their ends: every event is counted once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack

from ehrdb.errors import TrainingError

Integers = NDArray[np.int64]

PAPER_BINS = tuple(timedelta(days=days) for days in (30, 180, 365, 99_999))
"""Ages of an event at the prediction time that end a bin, nearest first; the end belongs to the bin."""
AGE = "age (z-score)"
_DECILES = np.linspace(0, 1, 11)[1:-1]  # not tenths: 0.6000000000000001 decides a value on the cut
_TEXT_LENGTH = 100


@dataclass(frozen=True)
class CountFeatures:
    """Features of distinct (patient_id, prediction_time).

    points: frame with patient_id and prediction_time, sorted, one row for each row of the matrix.
    matrix: (points, columns) float32, 0 for what was not seen. Column 0 is the age, standardized over points.
    columns: name of each column. bins: its age bin, 0 the nearest; None for the age and without bins.
    meanings: for each column but the age what an event must be to count: code (itself or an ancestor of the event's),
    and text, or low and high (a number from low to below high); without either an event has no value.
    """

    points: pl.DataFrame
    matrix: csr_matrix
    columns: list[str]
    bins: list[int | None]
    meanings: pl.DataFrame


def count_features(
    events: pl.DataFrame,
    points: pl.DataFrame,
    ancestors: pl.DataFrame,
    *,
    bins: Sequence[timedelta] = (),
    values: bool = False,
    codes: Collection[str] | None = None,
    reference_threads: int | None = None,
) -> CountFeatures:
    """Count what was visible at each point. The paper's baseline: `bins=PAPER_BINS, values=True`.

    events: patient_id, time, code, numeric_value, text_value. All events of these patients make up the
    vocabulary, whenever they happened. points: patient_id, prediction_time. ancestors: code, ancestor, see
    `closure`. codes: events of others count for nothing (None: all count). Deciles are taken over all values of a code;
    the reference samples 10,000.
    reference_threads: reproduce the reference's run with so many threads: its merge keeps the text and decile
    columns of the first of 10 x threads groups of patients only. Raises TrainingError for a patient without
    events.
    """
    points = points.select("patient_id", "prediction_time").unique().sort("patient_id", "prediction_time")
    patients = points["patient_id"].unique().sort()
    events = events.filter(pl.col("patient_id").is_in(patients.implode()))
    events = events.sort("patient_id", "time", maintain_order=True).with_row_index("position")
    points = _with_first_event(points, events)
    events = _named(events, _value_patients(patients, reference_threads) if values else [])
    if codes is not None:
        events = events.with_columns(feature=pl.when(pl.col("code").is_in(list(codes))).then("feature"))
    features = _features(events)
    expansion, columns = _expand(features, ancestors)
    counts = _count(events["feature"], features["feature"], *_ranges(events, points, bins)) @ expansion
    width = max(1, len(bins))
    matrix = hstack([_age(points), *(counts[number::width] for number in range(width))], "csr", np.float32)
    numbers: list[int | None] = list(range(width)) if bins else [None]
    return CountFeatures(
        points.select("patient_id", "prediction_time"),
        matrix,
        [AGE, *columns * width],
        [None, *(number for number in numbers for _ in columns)],
        pl.concat([_meanings(columns, features)] * width),
    )


def age_in_years(points: pl.DataFrame, events: pl.DataFrame) -> NDArray[np.float64]:
    """Whole days since a patient's first event in years of 365, for each of `points`; 0 before it."""
    first = events.group_by("patient_id").agg(first_time=pl.col("time").min())
    joined = points.join(first, on="patient_id", how="left", maintain_order="left")
    return _years(joined).clip(min=0)


def closure(parents: pl.DataFrame) -> pl.DataFrame:
    """All (code, ancestor) that follow from direct (code, parent) edges."""
    found = step = parents.select("code", ancestor="parent").unique()
    while len(step):
        step = step.join(parents, left_on="ancestor", right_on="code").select("code", ancestor="parent")
        step = step.unique().join(found, on=["code", "ancestor"], how="anti")
        found = pl.concat([found, step])
    return found


def _value_patients(patients: pl.Series, threads: int | None) -> list[int]:
    return patients.to_list() if threads is None else np.array_split(patients, 10 * threads)[0].tolist()


def _with_first_event(points: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    first = events.group_by("patient_id").agg(first=pl.col("position").min(), first_time=pl.col("time").min())
    points = points.join(first, on="patient_id", how="left", maintain_order="left")
    without = points.filter(pl.col("first").is_null())
    if len(without):
        raise TrainingError(f"patient {without['patient_id'][0]} has no events to count", hint="Leave out the labels.")
    return points


def _age(points: pl.DataFrame) -> NDArray[np.float64]:
    age = _years(points)
    spread = age.std(ddof=1) if len(age) > 1 else 0.0
    standardized: NDArray[np.float64] = (age - age.mean()) / (spread or 1.0)  # where all are of one age, none is apart
    return standardized


def _years(points: pl.DataFrame) -> NDArray[np.float64]:
    return points.select((pl.col("prediction_time") - pl.col("first_time")).dt.total_days() / 365).to_numpy()


def _named(events: pl.DataFrame, value_patients: list[int]) -> pl.DataFrame:
    """Events with `feature`, what they count for (null: nothing), and `plain_code`, null with a value."""
    no_value = pl.col("numeric_value").is_null() & pl.col("text_value").is_null()
    events = events.with_columns(
        plain_code=pl.when(no_value).then("code"),
        shown_text=pl.col("text_value").str.slice(0, _TEXT_LENGTH),
    ).with_columns(text=pl.format("{} = {}", "code", "shown_text"))
    shown = events.filter(pl.col("patient_id").is_in(value_patients))
    texts = shown.group_by("text").len().filter(pl.col("len") > 1)["text"].drop_nulls()
    return _with_buckets(events, shown).with_columns(
        feature=pl.coalesce("plain_code", pl.when(pl.col("text").is_in(texts.implode())).then("text"), "bucket")
    )


def _features(events: pl.DataFrame) -> pl.DataFrame:
    """What events count for, each once by its name: feature, plain_code, and what it means (see CountFeatures)."""
    is_text, is_bucket = (pl.col("feature") == pl.col(name) for name in ("text", "bucket"))
    return (
        events.drop_nulls("feature")
        .select(
            "feature",
            "plain_code",
            "code",
            text=pl.when(is_text & pl.col("plain_code").is_null()).then("shown_text"),
            low=pl.when(is_bucket).then("low"),
            high=pl.when(is_bucket).then("high"),
        )
        .unique("feature", keep="any")
        .sort("feature")
    )


def _meanings(columns: list[str], features: pl.DataFrame) -> pl.DataFrame:
    named = pl.DataFrame({"feature": columns}, schema={"feature": pl.String})
    found = named.join(features, on="feature", how="left", maintain_order="left")
    return found.select(pl.coalesce("code", "feature"), "text", "low", "high")


def _with_buckets(events: pl.DataFrame, shown: pl.DataFrame) -> pl.DataFrame:
    """Events with `bucket`, the decile range of their code that holds their number; ranges are of `shown`."""
    number = pl.col("numeric_value").cast(pl.Float64)
    known = shown.filter(number.is_not_null() & number.is_not_nan()).group_by("code").agg(number)
    rows = [
        (code, low, high, f"{code} in [{low:.9g},{high:.9g})")
        for code, values in known.iter_rows()
        for low, high in _between(np.unique(np.quantile(values, _DECILES)))
    ]
    kinds = {"code": pl.String, "low": pl.Float64, "high": pl.Float64, "bucket": pl.String}
    buckets = pl.DataFrame(rows, kinds, orient="row").sort("low")
    # A bucket's end is outside it, infinity too.
    inside = events.filter(number < np.inf).select("position", "code", number=number).sort("number")
    found = inside.join_asof(buckets, left_on="number", right_on="low", by="code", check_sortedness=False)
    shown_columns = found.select("position", "bucket", "low", "high")
    return events.join(shown_columns, on="position", how="left", maintain_order="left")


def _between(cuts: NDArray[np.float64]) -> Sequence[tuple[float, float]]:
    return list(pairwise([-np.inf, *cuts, np.inf]))


def _ranges(events: pl.DataFrame, points: pl.DataFrame, bins: Sequence[timedelta]) -> tuple[Integers, Integers]:
    """First and behind-last event of every (point, bin), bins fastest."""
    moment = pl.col("prediction_time")
    stop = _position(events, points, moment, inclusive=True)
    if not bins:
        return points["first"].to_numpy(), stop
    starts = [_position(events, points, moment - age, inclusive=False) for age in bins]
    return np.stack(starts, 1).ravel(), np.stack([stop, *starts[:-1]], 1).ravel()


def _position(events: pl.DataFrame, points: pl.DataFrame, moment: pl.Expr, *, inclusive: bool) -> Integers:
    """Position behind each patient's events before a moment."""
    behind = events.select("patient_id", "time", behind=pl.col("position") + 1).sort("time")
    asked = points.select("patient_id", "first", time=moment).with_row_index("point").sort("time")
    found = asked.join_asof(behind, on="time", by="patient_id", allow_exact_matches=inclusive, check_sortedness=False)
    return found.sort("point").select(pl.coalesce("behind", "first").cast(pl.Int64)).to_series().to_numpy()


def _count(feature: pl.Series, features: pl.Series, start: Integers, stop: Integers) -> csr_matrix:
    """How often each feature occurs in each range of events: (ranges, features)."""
    ends = np.unique(np.concatenate([start, stop]))
    index = pl.DataFrame({"feature": features}).with_row_index("column")
    column = feature.to_frame().join(index, on="feature", how="left", maintain_order="left")["column"]
    position = np.flatnonzero(column.is_not_null())
    position = position[(position >= ends[0]) & (position < ends[-1])]
    segment = np.searchsorted(ends, position, side="right") - 1
    cells = (segment, column.gather(position).to_numpy())
    in_segment = csr_matrix((np.ones(len(position), np.float32), cells), shape=(len(ends), len(features)))
    return _spans(np.searchsorted(ends, start), np.searchsorted(ends, stop), len(ends)) @ in_segment


def _spans(start: Integers, stop: Integers, size: int) -> csr_matrix:
    """Rows of ones from start to before stop: (ranges, size)."""
    length = stop - start
    pointer = np.concatenate([[0], np.cumsum(length)])
    index = np.arange(pointer[-1]) - np.repeat(pointer[:-1] - start, length)
    return csr_matrix((np.ones(len(index), np.float32), index, pointer), shape=(len(start), size))


def _expand(features: pl.DataFrame, ancestors: pl.DataFrame) -> tuple[csr_matrix, list[str]]:
    """What each feature counts for, (features, columns) of ones, and the columns' names."""
    features = features.with_row_index("row")
    above = features.join(ancestors, left_on="plain_code", right_on="code").select("row", column="ancestor")
    cells = pl.concat([features.select("row", column="feature"), above]).unique()
    columns = cells["column"].unique().sort()
    cells = cells.join(pl.DataFrame({"column": columns}).with_row_index("index"), on="column")
    ones = np.ones(len(cells), np.float32)
    place = (cells["row"].to_numpy(), cells["index"].to_numpy())
    return csr_matrix((ones, place), shape=(len(features), len(columns))), columns.to_list()
