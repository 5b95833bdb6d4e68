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
from ehrdb.events.meds import MedsOptions, export_meds, load_meds
from tests.conftest import shared

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
        ({"text_value": [["a"]]}, "column text_value: does not hold texts"),
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
    (report,) = [report for report in result.tables if report.source_table == "all events"]
    assert report.reasons == {"before birth": 1, "after death": 1, "in the future": 1}


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


# --- what MEDS' own tools write, and others ---------------------------------------------------------------------------


def codes(database: Database) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return connection.execute("select code, description, parents from ehr.concept order by code").fetchall()


def test_the_row_that_sums_up_all_codes_is_left_out_and_counted(database: Database, tmp_path: Path) -> None:
    frame = pl.DataFrame({"code": [None, "A//1"], "code/n_occurrences": [5, 1], "description": [None, "A"]})
    result = load_meds(database, put(put(tmp_path, pl.DataFrame(GOOD)), frame, "metadata/codes.parquet"))
    assert codes(database) == [("A//1", "A", [])]
    assert {"rows without a code, left out": 1} in [table.reasons for table in result.tables]


def test_a_code_described_once_for_each_modifier_is_one_code(database: Database, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "code": ["A//1", "A//1", "A//1"],
            "unit": ["mg", "g", "kg"],
            "description": [None, "A", "B"],
            "parent_codes": [["P/1"], ["P/2"], None],
        }
    )
    result = load_meds(database, put(put(tmp_path, pl.DataFrame(GOOD)), frame, "metadata/codes.parquet"))
    assert codes(database)[0] == ("A//1", "A", ["P/1", "P/2"])
    expected = {"further rows of a code": 2, "codes with several descriptions, the first taken": 1}
    assert expected in [table.reasons for table in result.tables]


@pytest.mark.parametrize(
    ("columns", "described"),
    [
        ({"description": ["A"], "parent_codes": ["P/1"]}, ("A//1", "A", ["P/1"])),
        ({"description": [["A", "B"]], "parent_codes": [["P/1"]]}, ("A//1", "A; B", ["P/1"])),
        ({"description": ["A"], "parent_codes": ["['P/1', \"P/2\"]"]}, ("A//1", "A", ["P/1", "P/2"])),
        ({"description": pl.Series(["A"], dtype=pl.Categorical), "parent_codes": [None]}, ("A//1", "A", [])),
        ({"description": [None], "parent_codes": pl.Series([[None]], dtype=pl.List(pl.String))}, ("A//1", None, [])),
    ],
)
def test_descriptions_and_parents_are_read_as_texts_or_lists(
    database: Database, tmp_path: Path, columns: dict[str, Any], described: tuple[object, ...]
) -> None:
    frame = pl.DataFrame({"code": ["A//1"], **columns})
    load_meds(database, put(put(tmp_path, pl.DataFrame(GOOD)), frame, "metadata/codes.parquet"))
    assert codes(database)[0] == described


@pytest.mark.parametrize("column", ["description", "parent_codes"])
def test_other_kinds_of_descriptions_are_refused_in_a_line(database: Database, tmp_path: Path, column: str) -> None:
    frame = pl.DataFrame({"code": ["A//1"], column: [{"text": "A"}]})
    with pytest.raises(InputError, match=f"column {column}: holds neither texts nor lists of texts"):
        load_meds(database, put(put(tmp_path, pl.DataFrame(GOOD)), frame, "metadata/codes.parquet"))


@pytest.mark.parametrize(
    ("name", "split"),
    [("training", "train"), ("Validation", "val"), ("tuning", "val"), ("testing", "test"), ("held_out", "test")],
)
def test_splits_may_be_named_otherwise(database: Database, tmp_path: Path, name: str, split: str) -> None:
    frame = pl.DataFrame({"subject_id": [1], "split": [name]})
    load_meds(database, put(put(tmp_path, pl.DataFrame(GOOD)), frame, "metadata/subject_splits.parquet"))
    with database.transaction() as connection:
        assert connection.execute("select split from ehr.patient").fetchone() == (split,)


def test_a_split_of_unknown_name_is_refused(database: Database, tmp_path: Path) -> None:
    frame = pl.DataFrame({"subject_id": [1], "split": ["fold 7"]})
    with pytest.raises(InputError, match="column split: split 'fold 7' is unknown"):
        load_meds(database, put(put(tmp_path, pl.DataFrame(GOOD)), frame, "metadata/subject_splits.parquet"))


@pytest.mark.parametrize("end", ["end", "time_end"])
@pytest.mark.parametrize("visit", [pl.Int64, pl.Float64, pl.String])
def test_visits_made_from_omop_are_visits(
    database: Database, tmp_path: Path, end: str, visit: type[pl.DataType]
) -> None:
    frame = pl.DataFrame(
        {
            "subject_id": 1,
            "time": [datetime(2020, 1, 1), datetime(2020, 1, 2), datetime(2020, 2, 1)],
            "code": ["Visit/IP", "LAB//1", "Visit/OP"],
            end: [datetime(2020, 1, 9), None, None],
            "visit_id": pl.Series([11, 11, 12]).cast(visit),
        }
    )
    load_meds(database, put(tmp_path, frame))
    with database.transaction() as connection:
        visits = connection.execute("select visit_id, visit_class, end_time from ehr.visit order by 1").fetchall()
        assert visits == [("11", "inpatient", datetime(2020, 1, 9)), ("12", "outpatient", None)]
        row = connection.execute("select visit_id from ehr.event where code = 'LAB//1'").fetchone()
        assert row == ("11",)


def test_an_admission_is_not_ended_by_the_discharge_of_the_next(database: Database, tmp_path: Path) -> None:
    codes = ["HOSPITAL_ADMISSION", "HOSPITAL_ADMISSION", "HOSPITAL_DISCHARGE"]
    days = [datetime(2020, 1, day) for day in (1, 7, 9)]
    (report, *_) = load_meds(
        database, put(tmp_path, pl.DataFrame({"subject_id": 1, "time": days, "code": codes}))
    ).tables
    assert report.reasons["admission without a discharge"] == 1
    with database.transaction() as connection:
        ends = connection.execute("select end_time from ehr.visit order by start_time").fetchall()
    assert ends == [(None,), (days[2],)]


@pytest.mark.parametrize(
    ("column", "value", "option"),
    [
        ("hadm_id", 11, "--visit-column"),
        ("visit_occurrence_id", 11, "--visit-column"),
        ("units", "mg", "--unit-column"),
    ],
)
def test_a_column_that_an_option_should_name_is_named(
    database: Database, tmp_path: Path, column: str, value: object, option: str
) -> None:
    (report, *_) = load_meds(database, put(tmp_path, pl.DataFrame({**GOOD, column: [value]}))).tables
    assert f"column {column} is not used: see {option}" in report.reasons


def test_visit_ids_that_are_not_a_number_are_none(database: Database, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"subject_id": 1, "time": datetime(2020, 1, 1), "code": "A", "visit_id": [1e15, float("nan"), 0.5]}
    )
    load_meds(database, put(tmp_path, frame))
    with database.transaction() as connection:
        found = connection.execute("select visit_id from ehr.event order by ordinal").fetchall()
    assert found == [("1000000000000000",), (None,), ("0.5",)]


def test_columns_without_any_value_and_of_bytes_are_read(database: Database, tmp_path: Path) -> None:
    load_meds(
        database, put(tmp_path, pl.DataFrame({**GOOD, "time": [None], "numeric_value": [None], "hash": [b"\x0a"]}))
    )
    with database.transaction() as connection:
        row = connection.execute("select numeric_value, isfinite(time), extra from ehrdb.event").fetchone()
    assert row == (None, False, {"hash": "0a"})


def test_data_without_any_visit_say_so(database: Database, tmp_path: Path) -> None:
    (report, *_) = load_meds(database, put(tmp_path, pl.DataFrame(GOOD))).tables
    assert "no event is a visit: see --admission, --discharge and --end-column" in report.reasons


def test_a_visit_column_that_is_nowhere_is_refused(database: Database, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/data, column hadm: is in none of the files") as error:
        load_meds(database, put(tmp_path, pl.DataFrame(GOOD)), MedsOptions(visit_column="hadm"))
    assert error.value.hint == "They have: code, subject_id, time."


def test_a_subject_dies_at_the_last_recorded_death(database: Database, tmp_path: Path) -> None:
    days = [datetime(2015, 1, 1), datetime(2020, 1, 1)]
    (report, *_) = load_meds(
        database, put(tmp_path, pl.DataFrame({"subject_id": 1, "time": days, "code": "MEDS_DEATH"}))
    ).tables
    assert report.reasons["has another death"] == 1
    with database.transaction() as connection:
        assert connection.execute("select death_time from ehr.patient").fetchone() == (days[1],)


def test_links_to_shards_are_followed(database: Database, tmp_path: Path) -> None:
    put(tmp_path, pl.DataFrame(GOOD), "elsewhere/0.parquet")
    (tmp_path / "meds" / "data").mkdir(parents=True)
    (tmp_path / "meds" / "data" / "train").symlink_to(tmp_path / "elsewhere")
    assert load_meds(database, tmp_path / "meds").new == 1
    put(tmp_path, pl.DataFrame({**GOOD, "code": ["B//1"]}), "elsewhere/0.parquet")
    assert load_meds(database, tmp_path / "meds").changed == 1


def test_files_that_are_no_part_of_the_data_set_are_named(database: Database, tmp_path: Path) -> None:
    put(put(tmp_path, pl.DataFrame(GOOD)), pl.DataFrame(GOOD), "data/_hidden/1.parquet")
    (tmp_path / "data" / "2.csv").write_text("subject_id,time,code\n")
    reports = {report.source_table: report.reasons for report in load_meds(database, tmp_path).tables}
    assert reports["not read"] == {"data/2.csv": 1}
    assert len(events(database)) == 1


@pytest.mark.parametrize("case", ["12a-null-code", "12c-parent-string", "12f-splits", "12g-omop-visits"])
def test_shared_data_sets_are_read(database: Database, case: str) -> None:
    assert load_meds(database, shared(f"cases/{case}")).new > 0
