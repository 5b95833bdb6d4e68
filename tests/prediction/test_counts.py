from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehrdb.errors import TrainingError
from ehrdb.prediction.counts import AGE, PAPER_BINS, CountFeatures, closure, count_features
from tests.conftest import shared

T = datetime(2020, 1, 1)
DAY = timedelta(days=1)
NO_ANCESTORS = pl.DataFrame(schema={"code": pl.String, "ancestor": pl.String})
Event = tuple[int, datetime, str, float | None, str | None]


def events(*rows: Event) -> pl.DataFrame:
    names = {"patient_id": pl.Int64, "time": pl.Datetime, "code": pl.String}
    return pl.DataFrame(rows, {**names, "numeric_value": pl.Float64, "text_value": pl.String}, orient="row")


def points(*rows: tuple[int, datetime]) -> pl.DataFrame:
    return pl.DataFrame(rows, {"patient_id": pl.Int64, "prediction_time": pl.Datetime}, orient="row")


def cells(features: CountFeatures) -> dict[tuple[int, str, int | None], float]:
    """(row, column name, bin) -> count of all cells but the age."""
    matrix = features.matrix.tocoo()
    return {
        (int(row), features.columns[column], features.bins[column]): float(value)
        for row, column, value in zip(matrix.row, matrix.col, matrix.data, strict=True)
        if column and value
    }


def two_points(*rows: Event, **options: Any) -> dict[tuple[int, str, int | None], float]:
    """Counts at T and a day later for patient 1, born long before."""
    birth = (1, T - 9000 * DAY, "birth", None, None)
    return cells(count_features(events(birth, *rows), points((1, T), (1, T + DAY)), NO_ANCESTORS, **options))


def test_an_event_at_the_prediction_time_is_visible() -> None:
    found = two_points((1, T, "at", None, None), (1, T + timedelta(seconds=1), "after", None, None))
    assert {(row, code) for row, code, _ in found} == {
        (0, "birth"),
        (1, "birth"),
        (0, "at"),
        (1, "at"),
        (1, "after"),
    }


def test_ancestors_count_once_for_each_event() -> None:
    edges = pl.DataFrame({"code": ["c", "c", "b", "d"], "parent": ["b", "d", "a", "a"]})
    seen = events((1, T, "c", None, None), (1, T, "b", None, None), (2, T, "a", None, None))
    found = cells(count_features(seen, points((1, T), (2, T + DAY)), closure(edges)))
    assert found == {
        (0, "c", None): 1,
        (0, "b", None): 2,
        (0, "a", None): 2,
        (0, "d", None): 1,
        (1, "a", None): 1,
    }


def test_events_with_a_value_count_for_nothing_without_values() -> None:
    found = two_points((1, T, "lab", 5.0, None), (1, T, "lab", None, "high"))
    assert {code for _, code, _ in found} == {"birth"}


def test_events_of_codes_that_are_left_out_count_for_nothing_and_age_is_as_before() -> None:
    edges = pl.DataFrame({"code": ["kept", "left"], "parent": ["above", "beside"]})
    seen = events((1, T - 365 * DAY, "left", None, None), (1, T, "kept", None, None), (2, T, "left", None, None))
    asked = points((1, T), (2, T))
    found = count_features(seen, asked, closure(edges), codes={"kept", "above"})
    assert cells(found) == {(0, "kept", None): 1, (0, "above", None): 1}
    assert found.columns == [AGE, "above", "kept"]
    whole = count_features(seen, asked, closure(edges))
    assert (found.matrix[:, 0] != whole.matrix[:, 0]).nnz == 0


def test_a_text_counts_when_it_occurs_more_than_once() -> None:
    rows = [(1, T, "lab", None, text) for text in ("once", "twice", "twice", "x" * 100 + "1", "x" * 100 + "2")]
    found = two_points(*rows, values=True)
    assert {code: n for (row, code, _), n in found.items() if row == 0} == {
        "birth": 1,
        "lab = twice": 2,
        "lab = " + "x" * 100: 2,
    }


def test_a_number_counts_in_its_decile_from_the_cut_on() -> None:
    rows: list[Event] = [(1, T, "lab", value, None) for value in (0.0, 1.0) for _ in range(10)]
    found = two_points(*rows, values=True)
    deciles = {code: n for (row, code, _), n in found.items() if row == 0 and code != "birth"}
    assert deciles == {"lab in [0,0.5)": 10, "lab in [1,inf)": 10}


def test_bins_hold_events_by_age_with_the_end_inside() -> None:
    bins = (30 * DAY, 180 * DAY)
    old = [(1, T - age, "x", None, None) for age in (30 * DAY, 30 * DAY + timedelta(seconds=1), 180 * DAY, 181 * DAY)]
    found = two_points(*old, bins=bins)
    assert {key: n for key, n in found.items() if key[0] == 0} == {(0, "x", 0): 1, (0, "x", 1): 2}


def test_age_is_standardized_over_all_points() -> None:
    born = events((1, T, "birth", None, None), (2, T, "birth", None, None))
    features = count_features(born, points((1, T + 365 * DAY), (2, T + 730 * DAY), (2, T + 1095 * DAY)), NO_ANCESTORS)
    np.testing.assert_allclose(features.matrix[:, [0]].toarray().ravel(), [-1, 0, 1])


def test_a_patient_without_events_is_named() -> None:
    with pytest.raises(TrainingError, match="patient 7"):
        count_features(events((1, T, "birth", None, None)), points((1, T), (7, T)), NO_ANCESTORS)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(-400, 40), st.sampled_from("abc")), min_size=1))
def test_counts_equal_a_plain_loop(rows: list[tuple[int, int, str]]) -> None:
    births = [(patient, T - 500 * DAY, "birth", None, None) for patient in (1, 2, 3)]
    seen = events(*births, *((p, T + days * DAY, code, None, None) for p, days, code in rows))
    asked = points(*((patient, T + days * DAY) for patient in (1, 2, 3) for days in (-30, 0, 30)))
    features = count_features(seen, asked, NO_ANCESTORS, bins=PAPER_BINS)
    expected: dict[tuple[int, str, int | None], float] = {}
    for row, (patient, time) in enumerate(features.points.iter_rows()):
        for other, start, code, *_ in seen.iter_rows():
            if other == patient and start <= time:
                bin_ = next(i for i, age in enumerate(PAPER_BINS) if time - start <= age)
                expected[row, code, bin_] = expected.get((row, code, bin_), 0) + 1
    assert cells(features) == expected


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("simple", {}),
        ("full_all_patients", {"bins": PAPER_BINS, "values": True}),
        ("full_reference_chunked", {"bins": PAPER_BINS, "values": True, "reference_threads": 1}),
    ],
)
def test_every_cell_is_the_references(name: str, options: dict[str, Any]) -> None:
    folder = shared("oracle/serializers/public")
    expected = _expected(shared(f"oracle/counts/public/{name}.csv"))
    parents = pl.read_csv(folder / "concept_parent.csv").rename({"child_code": "code", "parent_code": "parent"})
    asked = pl.read_csv(folder / "prediction_times.csv", try_parse_dates=True)
    features = count_features(_ehrshot(folder / "ehrshot.csv"), asked, closure(parents), **options)
    matrix = features.matrix.tocoo()
    bins: dict[int | None, str] = {i: str(age.days) for i, age in enumerate(PAPER_BINS)} | {None: ""}
    keys = list(features.points.iter_rows())
    found = {
        (*keys[row], features.columns[column], bins[features.bins[column]]): value
        for row, column, value in zip(matrix.row, matrix.col, matrix.data, strict=True)
    }
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[key] for key in expected], list(expected.values()), rtol=1e-6)


def _expected(file: Path) -> dict[tuple[int, datetime, str, str], float]:
    frame = pl.read_csv(file, schema_overrides={"bin_days": pl.String, "prediction_time": pl.Datetime})
    return {(patient, time, name, days or ""): n for patient, time, name, days, n in frame.iter_rows()}


def _ehrshot(file: Path) -> pl.DataFrame:
    """Events as FEMR reads them: whole minutes, numbers as float32, other values as text."""
    frame = pl.read_csv(file, infer_schema=False)
    number = pl.col("value").str.strip_chars().cast(pl.Float32, strict=False)
    return frame.select(
        pl.col("patient_id").cast(pl.Int64),
        time=pl.col("start").str.to_datetime("%Y-%m-%d %H:%M:%S").dt.truncate("1m"),
        code="code",
        numeric_value=number,
        text_value=pl.when(number.is_null()).then("value"),
    )
