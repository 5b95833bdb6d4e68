"""Odd MEDS data: loaded, or refused with file, row and column; never half-written (docs/loading.md)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehrdb.database import Database
from ehrdb.errors import InputError
from ehrdb.events import export_meds, load_meds

GOOD = {"subject_id": [1], "time": [datetime(2020, 1, 1)], "code": ["A//1"]}


def put(folder: Path, frame: pl.DataFrame, name: str = "data/0.parquet") -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(folder / name)
    return folder


def events(database: Database) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return connection.execute(
            "select patient_id, time, code, numeric_value, text_value from ehr.event order by patient_id, ordinal"
        ).fetchall()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"subject_id": pl.Series([None], dtype=pl.Int64)}, "row 1, column subject_id: is not a 64-bit whole number"),
        ({"subject_id": pl.Series([2**63], dtype=pl.UInt64)}, "row 1, column subject_id: is not a 64-bit whole number"),
        ({"code": [None]}, "row 1, column code: is empty"),
        ({"code": [""]}, "row 1, column code: is empty"),
        ({"code": ["A\x00"]}, "row 1, column code: holds a zero byte"),
        ({"code": ["A" * 2001]}, "row 1, column code: is longer than 2000 bytes"),
        ({"time": pl.Series([-(10**18)], dtype=pl.Datetime("us"))}, "row 1, column time: is outside the years"),
        ({"time": [datetime(2020, 1, 1, tzinfo=UTC)]}, "column time: does not hold timestamps without time zone"),
        ({"time": [date(2020, 1, 1)]}, "column time: does not hold timestamps"),
        ({"numeric_value": ["high"]}, "column numeric_value: does not hold numbers"),
    ],
)
def test_what_cannot_be_an_event_is_refused(
    database: Database, tmp_path: Path, columns: dict[str, object], message: str
) -> None:
    frame = pl.DataFrame({**GOOD, **columns})
    with pytest.raises(InputError) as caught:
        load_meds(database, put(tmp_path, frame))
    assert f"{tmp_path}/data/0.parquet, {message}" in str(caught.value)
    assert events(database) == []


@pytest.mark.parametrize("name", ["metadata/codes.parquet", "metadata/subject_splits.parquet"])
def test_torn_metadata_is_named(database: Database, tmp_path: Path, name: str) -> None:
    put(tmp_path, pl.DataFrame(GOOD))
    put(tmp_path, pl.DataFrame(GOOD), name)
    with (tmp_path / name).open("r+b") as stream:
        stream.truncate(100)
    with pytest.raises(InputError, match=r"parquet: is not readable parquet"):
        load_meds(database, tmp_path)


def test_a_subject_in_two_splits_is_refused(database: Database, tmp_path: Path) -> None:
    put(tmp_path, pl.DataFrame(GOOD))
    put(
        tmp_path,
        pl.DataFrame({"subject_id": [1, 1], "split": ["train", "held_out"]}),
        "metadata/subject_splits.parquet",
    )
    with pytest.raises(InputError, match="row 1, column subject_id: is empty or stands twice"):
        load_meds(database, tmp_path)


def test_an_empty_data_set_does_not_remove_everybody(database: Database, tmp_path: Path) -> None:
    load_meds(database, put(tmp_path, pl.DataFrame(GOOD)))
    put(tmp_path, pl.DataFrame(GOOD).clear())
    with pytest.raises(InputError, match="holds no patients"):
        load_meds(database, tmp_path)
    assert len(events(database)) == 1


def test_unsorted_times_are_put_in_order(database: Database, tmp_path: Path) -> None:
    days = [3, 1, 2]
    frame = pl.DataFrame(
        {"subject_id": 1, "time": [datetime(2020, 1, d) for d in days], "code": [f"A//{d}" for d in days]}
    )
    load_meds(database, put(tmp_path, frame))
    assert [code for _, _, code, _, _ in events(database)] == ["A//1", "A//2", "A//3"]


def test_texts_lose_zero_bytes_and_keep_the_rest(database: Database, tmp_path: Path) -> None:
    text = 'a\x00b\r\n"c", \\d \U0001f600'
    frame = pl.DataFrame({**GOOD, "text_value": [text], "route": ["p\x00o"]})
    load_meds(database, put(tmp_path, frame))
    assert events(database)[0][4] == text.replace("\x00", "")
    with database.transaction() as connection:
        assert connection.execute("select extra ->> 'route' from ehrdb.event").fetchone() == ("po",)


def test_a_text_of_ten_megabytes_goes_in_and_out(database: Database, tmp_path: Path) -> None:
    text = "long " * 2_000_000
    load_meds(database, put(tmp_path, pl.DataFrame({**GOOD, "text_value": [text]})))
    export_meds(database, tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "data" / "0.parquet")["text_value"].to_list() == [text]


def test_odd_but_possible_moments_are_loaded_and_counted(database: Database, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        [
            (1, datetime(1950, 1, 1), "MEDS_BIRTH"),
            (1, datetime(1949, 12, 31), "A//before"),
            (1, datetime(2020, 1, 1), "MEDS_DEATH"),
            (1, datetime(2021, 1, 1), "A//after"),
            (2, datetime(1850, 1, 1), "A//old"),
            (2, datetime(2950, 1, 1), "A//future"),
        ],
        schema=["subject_id", "time", "code"],
        orient="row",
    )
    result = load_meds(database, put(tmp_path, frame))
    assert len(events(database)) == 6
    assert result.tables[-1].reasons == {"before birth": 1, "after death": 1, "in the future": 1}


KINDS: list[Any] = [pl.Int64, pl.Float64, pl.String, pl.Boolean, pl.Datetime("us"), pl.Datetime("ms"), pl.Date]
VALUES: dict[Any, st.SearchStrategy[object]] = {
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.Float64: st.floats(),
    pl.String: st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    pl.Boolean: st.booleans(),
    pl.Datetime("us"): st.datetimes(),
    pl.Datetime("ms"): st.datetimes(),
    pl.Date: st.dates(),
}


@st.composite
def anything(draw: st.DrawFn) -> pl.DataFrame:
    """Columns of MEDS's names, of any kinds, with any values."""
    names = draw(
        st.lists(st.sampled_from(["subject_id", "time", "code", "numeric_value", "text_value", "x"]), unique=True)
    )
    rows = draw(st.integers(0, 4))
    columns = {}
    for name in names:
        likely: Any = {"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String}.get(name, pl.String)
        kind = draw(st.sampled_from([*KINDS, likely, likely, likely]))
        values = draw(st.lists(st.none() | VALUES[kind], min_size=rows, max_size=rows))
        columns[name] = pl.Series(values, dtype=kind)
    return pl.DataFrame(columns)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(anything())
def test_any_file_is_loaded_whole_or_refused(
    database: Database, tmp_path_factory: pytest.TempPathFactory, frame: pl.DataFrame
) -> None:
    before = events(database)
    try:
        load_meds(database, put(tmp_path_factory.mktemp("meds"), frame))
    except InputError:
        assert events(database) == before
    else:
        assert len(events(database)) == len(frame)
