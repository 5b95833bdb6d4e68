"""MEDS in, MEDS out: nothing lost, nothing changed."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow.parquet
import pytest

from ehrdb.database import Database
from ehrdb.errors import ConfigError, InputError, NotFound
from ehrdb.events.meds import MedsOptions, export_meds, load_meds
from ehrdb.events.omop import load_omop
from ehrdb.events.purge import purge
from tests.events.test_odd_omop import cdm


def at(day: int, hour: int = 8) -> datetime:
    return datetime(2020, 1, day, hour)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two patients over two files, one with a stay."""
    found = tmp_path / "meds"
    (found / "data").mkdir(parents=True)
    (found / "metadata").mkdir()
    write(
        found, "0", {"subject_id": [1, 1, 1], "time": [None, at(1), at(2)], "code": ["GENDER//F", "MEDS_BIRTH", "A//1"]}
    )
    write(
        found,
        "1",
        {
            "subject_id": [2, 2, 1],
            "time": [at(3), at(9), at(4)],
            "code": ["HOSPITAL_ADMISSION//ER", "HOSPITAL_DISCHARGE//HOME", "LAB//7//mg"],
        },
        numeric_value=[None, None, 4.5],
        hadm_id=[77, 77, None],
    )
    pl.DataFrame({"code": ["A//1"], "description": ["Hypertension"], "parent_codes": [["SNOMED/1"]]}).write_parquet(
        found / "metadata" / "codes.parquet"
    )
    return found


def write(folder: Path, name: str, columns: dict[str, list[object]], **more: list[object]) -> None:
    frame = pl.DataFrame({**columns, **more}, schema_overrides={"time": pl.Datetime("us"), "numeric_value": pl.Float32})
    frame.write_parquet(folder / "data" / f"{name}.parquet")


def ask(database: Database, question: str) -> object:
    with database.transaction() as connection:
        row = connection.execute(question.encode()).fetchone()
        assert row is not None
        return row[0]


def test_events_without_time_are_known_always(database: Database, folder: Path) -> None:
    load_meds(database, folder)
    assert "GENDER//F" in str(ask(database, "select ehr.timeline(1, '1900-01-01')"))


def test_a_subject_may_be_split_over_files(database: Database, folder: Path) -> None:
    load_meds(database, folder)
    assert ask(database, "select ehr.timeline(1)") == "LAB//7//mg (mg): 4.5\nHypertension\nMEDS_BIRTH\nGENDER//F"


def test_admission_and_discharge_make_a_visit(database: Database, folder: Path) -> None:
    load_meds(database, folder, MedsOptions(visit_column="hadm_id"))
    assert ask(database, "select (visit_id, visit_class, end_time - start_time)::text from ehr.visit") == (
        '(77,inpatient,"6 days")'
    )


def test_what_goes_in_comes_out(database: Database, folder: Path, tmp_path: Path) -> None:
    load_meds(database, folder)
    export_meds(database, tmp_path / "out")
    wanted = pl.concat([pl.read_parquet(path) for path in sorted((folder / "data").iterdir())], how="diagonal")
    got = pl.read_parquet(tmp_path / "out" / "data" / "0.parquet").select(wanted.columns)
    assert got.equals(wanted.sort("subject_id", "time", nulls_last=False, maintain_order=True))


def test_what_goes_out_and_in_again_reads_alike(database: Database, tmp_path: Path) -> None:
    load_omop(database, _cdm(tmp_path / "cdm"))
    before = _what_is_read(database)
    export_meds(database, tmp_path / "out")
    with database.transaction() as connection:
        connection.execute("select ehrdb.purge_patients(array(select patient_id from ehrdb.patient))")
    load_meds(database, tmp_path / "out")
    assert _what_is_read(database) == before
    codes = pl.read_parquet(tmp_path / "out" / "data" / "0.parquet")["code"]
    assert {"MEDS_BIRTH", "MEDS_DEATH"} < set(codes)


def _cdm(folder: Path) -> Path:
    visits = """1,1,9201,2020-01-01,2020-01-01 08:00:00,2020-01-05,2020-01-05 10:00:00
        2,1,9201,2020-03-01,,,
        3,2,9201,2020-03-05,2020-03-05 10:00:00,2020-03-04,2020-03-04 08:00:00"""
    folder.mkdir()
    return cdm(
        folder,
        visit_occurrence=visits,
        condition_occurrence="1,1,400,2020-01-02,1\n2,1,401,2020-03-02,2",
        measurement="1,1,100,2020-01-02,4171756,5,,,,300,\n2,1,100,2020-01-03,,5,,200,Detected,300,",
        death="1,2021-01-01",
    )


def _what_is_read(database: Database) -> dict[str, object]:
    """Texts of all formats, visits and patients."""
    queries = {
        "texts": "select f.name, p.patient_id, ehr.timeline(p.patient_id, format => f.name)"
        " from ehr.format f, ehr.patient p order by 1, 2",
        "visits": "select * from ehr.visit order by 1, 2",
        "patients": "select patient_id, birth_time, death_time, sex, race, ethnicity from ehr.patient order by 1",
    }
    with database.transaction() as connection:
        return {name: connection.execute(query.encode()).fetchall() for name, query in queries.items()}


@pytest.mark.parametrize(
    ("code", "unit"),
    [
        ("LAB//1//mg/dL", "mg/dL"),
        ("LAB//1//10*3/uL", "10*3/uL"),
        ("LAB//1//KG", "KG"),
        ("LAB//pH", None),
        ("LAB//1//%", "%"),
        ("LAB//1//UNK", None),
        ("LAB//1//A", None),
        ("LAB//mg/dL//7", None),
        ("LAB/mg", None),
    ],
)
def test_numbers_without_a_unit_take_the_one_of_their_code(
    database: Database, tmp_path: Path, code: str, unit: str | None
) -> None:
    columns = {
        "subject_id": 1,
        "time": at(1),
        "code": code,
        "numeric_value": [1.0, None, 2.0],
        "unit": [None, None, "g"],
    }
    (tmp_path / "data").mkdir()
    pl.DataFrame(columns).write_parquet(tmp_path / "data" / "0.parquet")
    (report, *_) = load_meds(database, tmp_path).tables
    assert report.reasons.get("units taken from the code", 0) == (unit is not None)
    with database.transaction() as connection:
        found = connection.execute("select unit from ehr.event order by ordinal").fetchall()
    assert found == [(unit,), (None,), ("g",)]
    load_meds(database, tmp_path, MedsOptions(units_in_codes=False))
    assert ask(database, "select count(unit) from ehr.event") == 1


def test_events_without_visit_ids_stand_in_the_visit_that_is_going_on(database: Database, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(
        tmp_path,
        "0",
        {
            "subject_id": [1] * 8,
            "time": [at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8)],
            "code": ["A", "HOSPITAL_ADMISSION", "B", "HOSPITAL_DISCHARGE", "C", "HOSPITAL_ADMISSION", "D", "E"],
        },
    )
    (report, *_) = load_meds(database, tmp_path).tables
    assert report.reasons["put into a visit by their time"] == 6
    with database.transaction() as connection:
        found = connection.execute("select code, visit_id from ehr.event order by ordinal").fetchall()
    first, second = "2020-01-02T08:00:00", "2020-01-06T08:00:00"
    assert [visit for _, visit in found] == [None, first, first, first, None, second, second, second]


def test_a_visit_of_an_unknown_class_is_refused(database: Database, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    columns = {"subject_id": 1, "time": at(1), "code": "A", "visit_class": ["icu", "hospice"]}
    pl.DataFrame(columns).write_parquet(tmp_path / "data" / "0.parquet")
    with pytest.raises(InputError, match="row 2, column visit_class: is none of inpatient"):
        load_meds(database, tmp_path)


def test_what_comes_out_is_of_the_meds_schemas(database: Database, folder: Path, tmp_path: Path) -> None:
    meds = pytest.importorskip("meds", reason="needs the meds extra")
    load_meds(database, folder)
    export_meds(database, tmp_path / "out")
    for name, schema in (
        ("data/0.parquet", meds.DataSchema),
        ("metadata/codes.parquet", meds.CodeMetadataSchema),
        ("metadata/subject_splits.parquet", meds.SubjectSplitSchema),
    ):
        schema.validate(pyarrow.parquet.read_table(tmp_path / "out" / name))
    meds.DatasetMetadataSchema.validate(json.loads((tmp_path / "out" / "metadata" / "dataset.json").read_text()))


def test_the_visits_column_is_no_other_columns_name(database: Database, folder: Path, tmp_path: Path) -> None:
    load_meds(database, folder)  # hadm_id is kept as it is
    for name in ("hadm_id", "code"):
        with pytest.raises(ConfigError, match=name):
            export_meds(database, tmp_path / "out", visit_column=name)
    assert not (tmp_path / "out").exists()


def test_loading_again_changes_nothing(database: Database, folder: Path) -> None:
    load_meds(database, folder)
    result = load_meds(database, folder)
    assert (result.unchanged, result.anything_changed) == (2, False)


def test_a_vanished_subject_is_removed_unless_asked_otherwise(database: Database, folder: Path) -> None:
    load_meds(database, folder)
    (folder / "data" / "1.parquet").unlink()
    without_numbers = MedsOptions(keep_missing=True, allow_missing=("data.numeric_value",))
    assert load_meds(database, folder, without_numbers).removed == 0
    assert load_meds(database, folder).removed == 1
    assert ask(database, "select count(*) from ehrdb.event where patient_id = 2") == 0


def test_a_failed_load_leaves_the_previous_state(database: Database, folder: Path) -> None:
    load_meds(database, folder)
    (folder / "data" / "2.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(InputError, match="not readable parquet"):
        load_meds(database, folder)
    assert ask(database, "select count(*) from ehrdb.event") == 6


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"subject_id": ["a"], "time": [at(1)], "code": ["A"]}, "column subject_id: does not hold whole numbers"),
        ({"subject_id": [1], "code": ["A"]}, "column time: is missing"),
        ({"subject_id": [1], "time": ["soon"], "code": ["A"]}, "column time: does not hold timestamps"),
    ],
)
def test_wrong_columns_are_named(
    database: Database, folder: Path, columns: dict[str, list[object]], message: str
) -> None:
    pl.DataFrame(columns).write_parquet(folder / "data" / "9.parquet")
    with pytest.raises(InputError) as caught:
        load_meds(database, folder)
    assert message in caught.value.message


def test_purging_counts_to_zero_and_spares_others(database: Database, folder: Path) -> None:
    load_meds(database, folder)
    counts = purge(database, [1])
    assert counts["event"] == (4, 0)
    assert all(after == 0 for _, after in counts.values())
    assert ask(database, "select count(*) from ehrdb.event") == 2


def test_purging_an_unknown_patient_removes_nothing(database: Database, folder: Path) -> None:
    load_meds(database, folder)
    with pytest.raises(NotFound, match="99"):
        purge(database, [1, 99])
    assert ask(database, "select count(*) from ehrdb.patient") == 2
