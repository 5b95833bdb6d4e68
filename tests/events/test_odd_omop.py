"""OMOP extracts as hospitals write them: values, codes, ids and times that do not fit the plan."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest

from ehrdb.database import Database
from ehrdb.errors import ConfigError, InputError
from ehrdb.events import LoadResult, OmopOptions, load_omop, load_omop_schema
from tests.conftest import shared

CONCEPTS = """
    8507,MALE,Gender,M,S
    9201,Inpatient Visit,Visit,IP,S
    100,Viral load,LOINC,1-1,S
    101,Protein,LOINC,2-2,S
    200,Positive,SNOMED,10828004,S
    201,Severe,SNOMED,24484000,S
    300,milligram per deciliter,UCUM,mg/dL,S
    400,Stroke,DRG,014,
    401,Transplant,DRG,014,S
    500,Not applicable,LOINC,LA-1,S
"""
HEADERS = {
    "concept": "concept_id,concept_name,vocabulary_id,concept_code,standard_concept",
    "person": "person_id,gender_concept_id,year_of_birth",
    "visit_occurrence": "visit_occurrence_id,person_id,visit_concept_id,visit_start_date,visit_start_datetime,"
    "visit_end_date,visit_end_datetime",
    "measurement": "measurement_id,person_id,measurement_concept_id,measurement_date,operator_concept_id,"
    "value_as_number,value_as_string,value_as_concept_id,value_source_value,unit_concept_id,unit_source_value",
    "observation": "observation_id,person_id,observation_concept_id,observation_date,value_as_string,"
    "qualifier_concept_id,qualifier_source_value",
    "condition_occurrence": "condition_occurrence_id,person_id,condition_concept_id,condition_start_date,"
    "visit_occurrence_id",
    "death": "person_id,death_date",
    "note": "note_id,person_id,note_date,note_class_concept_id,note_title,note_text,visit_occurrence_id",
}


def cdm(folder: Path, **rows: str) -> Path:
    """A folder of CDM tables: what is given, with two persons and a small vocabulary."""
    tables = {"concept": CONCEPTS, "person": "1,8507,1950\n2,8507,1960"} | rows
    for name, text in tables.items():
        lines = [HEADERS[name], *filter(None, (line.strip() for line in text.splitlines()))]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute(query.encode()).fetchall()


def values(database: Database) -> list[tuple[Any, ...]]:
    return rows(
        database,
        "select numeric_value, text_value, extra from ehrdb.event"
        " where source_table in ('measurement', 'observation')"
        " order by patient_id, ordinal",
    )


def remarks(result: LoadResult, table: str) -> dict[str, int]:
    (report,) = [report for report in result.tables if report.source_table == table]
    return report.reasons


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "source", "text"),
    [
        ("4171756", "", "<5"),
        ("4172704", ">5", ">5"),
        ("4171754", "", "<=5"),
        ("4171755", "", ">=5"),
        ("0", "< 5.0", "<5"),
        ("", ">=5", ">=5"),
        ("", "< 5.0 mg/L", "<5"),
        ("", "=<5", "<=5"),
        ("0", '"≥ 5,0 (H)"', ">=5"),
        ("200", "", "Positive 5"),
    ],
)
def test_an_operator_stays_with_its_number(
    database: Database, tmp_path: Path, operator: str, source: str, text: str
) -> None:
    load_omop(database, cdm(tmp_path, measurement=f"1,1,100,2020-02-01,{operator},5,,,{source},,"))
    ((number, found, _),) = values(database)
    assert (number, found) == (None, text)


@pytest.mark.parametrize("operator", ["", "0", "4172703"])
def test_a_number_without_an_operator_or_equal_to_it_is_a_number(
    database: Database, tmp_path: Path, operator: str
) -> None:
    load_omop(database, cdm(tmp_path, measurement=f"1,1,100,2020-02-01,{operator},5,,,5.0,,"))
    assert values(database) == [(5.0, None, None)]


@pytest.mark.parametrize(
    ("row", "text", "extra"),
    [
        ("4171756,,5,,,,", "<5", None),
        ("4171756,,,,5,,", "<5", None),
        ("4171756,,,,<5,,", "<5", None),
        ("4171756,,,200,,,", "Positive", {"operator": "<"}),
        ("4171756,,,,,,", None, {"operator": "<"}),
    ],
)
def test_an_operator_without_a_number_is_not_lost(
    database: Database, tmp_path: Path, row: str, text: str | None, extra: object
) -> None:
    load_omop(database, cdm(tmp_path, measurement=f"1,1,100,2020-02-01,{row}"))
    assert values(database) == [(None, text, extra)]


@pytest.mark.parametrize("source", ["3+", "1:40", "5-10", "~5", "<50"])
def test_a_source_that_says_something_else_than_its_number_is_kept_aside(
    database: Database, tmp_path: Path, source: str
) -> None:
    load_omop(database, cdm(tmp_path, measurement=f"1,1,100,2020-02-01,,5,,,{source},,"))
    assert values(database) == [(5.0, None, {"value_source_value": source})]


def test_concepts_of_operators_and_qualifiers_that_are_not_there_are_counted(
    database: Database, tmp_path: Path
) -> None:
    folder = cdm(tmp_path, measurement="1,1,100,2020-02-01,99,5,,,,,", observation="1,1,100,2020-02-01,,99,")
    result = load_omop(database, folder)
    assert remarks(result, "measurement") == {"operator concept is not in concept": 1}
    assert remarks(result, "observation") == {"qualifier concept is not in concept": 1}


def test_of_several_values_the_first_in_order_is_shown_and_the_rest_kept_and_counted(
    database: Database, tmp_path: Path
) -> None:
    result = load_omop(
        database,
        cdm(
            tmp_path,
            measurement="""
                1,1,100,2020-02-01,,1500,,200,Detected 1500,,
                2,1,101,2020-02-02,,,,200,3+,,
                3,1,101,2020-02-03,,,,200,positive,,
                4,1,101,2020-02-04,,,,0,1+,,
                5,1,101,2020-02-05,,,,99,TNP,,""",
            observation="""
                1,2,100,2020-02-01,mother had cancer at 41,201,severe
                2,2,100,2020-02-02,,201,severe
                3,2,100,2020-02-03,,,mild""",
        ),
    )
    assert values(database) == [
        (1500.0, None, {"value_as_concept": "Positive", "value_source_value": "Detected 1500"}),
        (None, "Positive", {"value_source_value": "3+"}),
        (None, "Positive", None),
        (None, "1+", None),
        (None, "TNP", None),
        (None, "mother had cancer at 41", {"qualifier": "Severe"}),
        (None, "Severe", None),
        (None, "mild", None),
    ]
    assert remarks(result, "measurement") == {
        "has further values, kept aside": 2,
        "value concept is not in concept": 1,
    }
    assert remarks(result, "observation") == {"has further values, kept aside": 1}


def test_units_known_by_concept_alone_are_written_in_ucum(database: Database, tmp_path: Path) -> None:
    measurement = "1,1,100,2020-02-01,,5,,,,300,\n2,1,100,2020-02-02,,5,,,,300,mg%\n3,1,100,2020-02-03,,5,,,,301,"
    result = load_omop(database, cdm(tmp_path, measurement=measurement))
    found = rows(database, "select unit from ehr.event where source_table = 'measurement' order by ordinal")
    assert found == [("mg/dL",), ("mg%",), (None,)]
    assert remarks(result, "measurement") == {"unit concept is not in concept": 1}


def test_words_for_nothing_are_nothing_and_counted(database: Database, tmp_path: Path) -> None:
    measurement = """
        1,1,100,2020-02-01,NA,5,NULL,(null),nan,Null,<NA>
        2,1,100,2020-02-02,,,\\N,500,\\N,\\N,\\N
        3,1,100,2020-02-03,,NaN,n/a,,,NA,NA""".replace("\\\\", "\\")
    visit = "1,1,9201,2020-01-01,NULL,NaT,NULL"
    result = load_omop(database, cdm(tmp_path, measurement=measurement, visit_occurrence=visit))
    assert values(database) == [(5.0, None, None), (None, "Not applicable", None), (None, None, None)]
    assert rows(database, "select distinct unit from ehr.event") == [(None,)]
    assert remarks(result, "measurement") == {"words that stand for nothing (NULL, NA)": 14}
    assert remarks(result, "visit_occurrence") == {"words that stand for nothing (NULL, NA)": 3}


# --- codes and ids ----------------------------------------------------------------------------------------------------


def test_a_code_of_several_concepts_names_each_and_is_counted(database: Database, tmp_path: Path) -> None:
    result = load_omop(database, cdm(tmp_path, observation="1,1,400,2005-05-05,,,\n2,1,401,2012-05-05,,,"))
    found = rows(
        database, "select code, description from ehr.event where source_table = 'observation' order by ordinal"
    )
    assert found == [("DRG/014#400", "Stroke"), ("DRG/014#401", "Transplant")]
    assert remarks(result, "observation") == {"shares its code with another concept": 2}


def test_a_concept_without_a_code_keeps_its_name(database: Database, tmp_path: Path) -> None:
    concepts = CONCEPTS + "600,Local finding,SITE,,\n601,Padded, SITE , 77 ,"
    load_omop(database, cdm(tmp_path, concept=concepts, observation="1,1,600,2005-05-05,,,\n2,1,601,2012-05-05,,,"))
    found = rows(
        database, "select code, description from ehr.event where source_table = 'observation' order by ordinal"
    )
    assert found == [("OMOP/concept:600", "Local finding"), ("SITE/77", "Padded")]


@pytest.mark.parametrize("written", ["1000000.0", "1000000.", "1e+06", "1.0E6", " 1000000 ", "01000000"])
def test_ids_read_alike_however_a_program_writes_them(database: Database, tmp_path: Path, written: str) -> None:
    folder = cdm(
        tmp_path,
        visit_occurrence="1000000,1,9201.0,2020-01-01,,2020-01-05,",
        condition_occurrence=f"1.0,1.0,1E2,2020-01-02,{written}",
    )
    result = load_omop(database, folder)
    assert rows(database, "select distinct visit_id from ehr.event where visit_id is not null") == [("1000000",)]
    assert remarks(result, "condition_occurrence") == {}


@pytest.mark.parametrize("written", ["1.5", "1e-6", "1,000", "0x10", "1e30"])
def test_what_is_no_whole_number_is_no_id(database: Database, tmp_path: Path, written: str) -> None:
    with pytest.raises(InputError, match=r"row 2, column condition_occurrence_id: is not a whole number"):
        load_omop(database, cdm(tmp_path, condition_occurrence=f'"{written}",1,100,2020-01-02,'))


def test_visits_that_are_not_there_or_somebody_elses_are_counted(database: Database, tmp_path: Path) -> None:
    folder = cdm(
        tmp_path,
        visit_occurrence="11,1,9201,2020-01-01,,2020-01-05,",
        condition_occurrence="1,1,100,2020-01-02,11\n2,1,100,2020-01-02,12\n3,2,100,2020-01-02,11\n4,1,100,2020-01-02,",
    )
    assert remarks(load_omop(database, folder), "condition_occurrence") == {
        "names a visit of another patient": 1,
        "names a visit that is not there": 1,
    }


@pytest.mark.parametrize(("month", "day", "column"), [("13", "1", "month"), ("2", "30", "day"), ("x", "1", "month")])
def test_a_birth_that_cannot_be_names_its_column(
    database: Database, tmp_path: Path, month: str, day: str, column: str
) -> None:
    header = "person_id,gender_concept_id,year_of_birth,month_of_birth,day_of_birth"
    cdm(tmp_path)
    (tmp_path / "person.csv").write_text(f"{header}\n1,8507,1950.0,2.0,3\n2,8507,1950,{month},{day}\n")
    with pytest.raises(InputError, match=f"row 3, column {column}_of_birth: is missing or impossible"):
        load_omop(database, tmp_path)


# --- times ------------------------------------------------------------------------------------------------------------


def test_no_rule_of_ours_inverts_a_visit_and_inverted_ones_are_counted(database: Database, tmp_path: Path) -> None:
    visits = """
        1,1,9201,2020-01-01,2020-01-01 00:00:00,2020-01-01,2020-01-01 18:30:00
        2,1,9201,2020-02-01,,2020-02-10,2020-02-10 09:00:00
        3,1,9201,2020-03-05,2020-03-05 10:00:00,2020-03-04,2020-03-04 08:00:00
        4,1,9201,2020-04-01,2020-04-01 10:00:00,,
        5,2,9201,2020-05-01,,2020-05-01,
        6,2,9201,2020-07-01,2020-07-01 12:00:00,2020-07-01,2020-07-01 00:00:00
        7,2,9201,2020-08-02,,2020-08-01,2020-08-01 10:00:00
        8,2,9201,2020-09-01,,2020-09-01,2020-09-01 00:00:30
        9,2,9201,2020-10-01,2020-10-01 23:59:30,2020-10-01,"""
    result = load_omop(database, cdm(tmp_path, visit_occurrence=visits))
    found = rows(database, "select visit_id, start_time::text, end_time::text from ehr.visit order by visit_id")
    assert found == [
        ("1", "2020-01-01 18:29:00", "2020-01-01 18:30:00"),
        ("2", "2020-02-01 23:59:00", "2020-02-10 09:00:00"),
        ("3", "2020-03-05 10:00:00", "2020-03-04 08:00:00"),
        ("4", "2020-04-01 10:00:00", None),
        ("5", "2020-05-01 23:58:00", "2020-05-01 23:59:00"),
        ("6", "2020-07-01 12:00:00", "2020-07-01 23:59:00"),
        ("7", "2020-08-02 23:59:00", "2020-08-01 10:00:00"),
        ("8", "2020-09-01 00:00:00", "2020-09-01 00:00:30"),
        ("9", "2020-10-01 23:59:30", "2020-10-01 23:59:30"),
    ]
    assert remarks(result, "visit_occurrence") == {"ends before it starts": 2}
    as_is = load_omop(database, tmp_path, OmopOptions(date_only="as_is"))
    assert remarks(as_is, "visit_occurrence") == {"ends before it starts": 2}


@pytest.mark.parametrize(
    ("date", "written", "time"),
    [
        ("1937-12-1", "", "1937-12-01 23:59:00"),
        ("2020/1/2", "", "2020-01-02 23:59:00"),
        ("20200102", "", "2020-01-02 23:59:00"),
        ("2020-01-02", "2020-01-02 8:05:00", "2020-01-02 08:05:00"),
        ("2020-01-02", "2020-01-02T08:05:00.123456789", "2020-01-02 08:05:00.123457"),
        ("2020-01-02", "2020-01-02 08:05:00 UTC", "2020-01-02 08:05:00"),
        ("2020-01-02", "2020-01-02 08:05:00+02", "2020-01-02 08:05:00"),
    ],
)
def test_dates_are_read_as_programs_write_them(
    database: Database, tmp_path: Path, date: str, written: str, time: str
) -> None:
    load_omop(database, cdm(tmp_path, visit_occurrence=f"1,1,9201,{date},{written},,"))
    assert rows(database, "select start_time::text from ehr.visit") == [(time,)]


@pytest.mark.parametrize("date", ["01/02/2020", "2-JAN-2020", "43832", "2020-01", "2020112", "0000-00-00", "today"])
def test_dates_with_two_readings_or_none_are_refused(database: Database, tmp_path: Path, date: str) -> None:
    with pytest.raises(InputError, match=r"row 2, column visit_start_date: is missing or impossible"):
        load_omop(database, cdm(tmp_path, visit_occurrence=f"1,1,9201,{date},,,"))


def test_a_zone_in_a_text_is_counted_or_applied_where_the_clock_is_known(database: Database, tmp_path: Path) -> None:
    visits = """
        1,1,9201,2020-01-01,2020-01-01 02:30:00Z,2020-01-01,2020-01-01 08:30:00.5 -0130
        2,1,9201,2020-01-02,2020-01-02 02:30:00,,"""
    result = load_omop(database, cdm(tmp_path, visit_occurrence=visits))
    assert remarks(result, "visit_occurrence") == {"times with a zone, taken as local (see --time-zone)": 2}
    result = load_omop(database, tmp_path, OmopOptions(time_zone="America/New_York"))
    assert remarks(result, "visit_occurrence") == {}
    assert rows(database, "select start_time::text, end_time::text from ehr.visit order by 1") == [
        ("2019-12-31 21:30:00", "2020-01-01 05:00:00.5"),
        ("2020-01-02 02:30:00", None),
    ]


def test_a_patient_dies_once_at_the_last_recorded_death(database: Database, tmp_path: Path) -> None:
    result = load_omop(database, cdm(tmp_path, death="1,2015-03-01\n1,2020-06-01\n2,2020-06-01\n2,2020-06-01"))
    found = rows(database, "select patient_id, time::date::text from ehr.event where source_table = 'death' order by 1")
    assert found == [(1, "2020-06-01"), (2, "2020-06-01")]
    assert rows(database, "select death_time::date::text from ehr.patient") == [("2020-06-01",), ("2020-06-01",)]
    assert remarks(result, "death") == {"person_id has another death": 2}


# --- folders ----------------------------------------------------------------------------------------------------------


def test_what_stands_in_the_folder_and_was_not_read_is_named(database: Database, tmp_path: Path) -> None:
    for name in ("drug_era.csv", "plan.xlsx", "_SUCCESS"):
        (tmp_path / name).write_text("x\n")
    assert remarks(load_omop(database, cdm(tmp_path)), "not read") == {"drug_era.csv": 1, "plan.xlsx": 1}


@pytest.mark.parametrize("name", ["Measurement.txt", "measurement.csv.zst", "measurement.json"])
def test_a_table_in_a_form_that_is_not_read_is_not_absent(database: Database, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x\n")
    with pytest.raises(InputError, match=f"{name}: is table measurement in a form that is not read"):
        load_omop(database, cdm(tmp_path))
    cdm(tmp_path, measurement="1,1,100,2020-02-01,,5,,,,,")
    assert remarks(load_omop(database, tmp_path), "not read") == {name: 1}


def test_an_empty_table_is_reported_an_absent_one_is_not(database: Database, tmp_path: Path) -> None:
    tables = {report.source_table: report.rows_read for report in load_omop(database, cdm(tmp_path, death="")).tables}
    assert (tables["death"], "measurement" in tables) == (0, False)


@pytest.mark.parametrize(
    ("case", "table", "loaded"),
    [
        ("03-partitioned", "measurement", None),
        ("03b-numbered", "measurement", None),
        ("11c-tab-quoted", "condition_occurrence", 1),
        ("24-file-forms/utf16", "measurement", 2),
    ],
)
def test_shared_folders_are_read_whole(database: Database, case: str, table: str, loaded: int | None) -> None:
    result = load_omop(database, shared(f"cases/{case}"))
    (report,) = [report for report in result.tables if report.source_table == table]
    assert report.rows_loaded == (loaded or report.rows_read) > 0


def test_shared_inch_marks_are_refused_and_read_when_told(database: Database) -> None:
    folder = shared("cases/11-inch-marks")
    with pytest.raises(Exception, match=r"procedure_occurrence\.csv, row 2, column procedure_source_value"):
        load_omop(database, folder)
    result = load_omop(database, folder, OmopOptions(unquoted=("procedure_occurrence",)))
    assert next(r.rows_loaded for r in result.tables if r.source_table == "procedure_occurrence") == 5


def test_shared_headerless_file_shows_no_patient(database: Database) -> None:
    with pytest.raises(Exception, match="has no header") as caught:
        load_omop(database, shared("cases/25-no-header"))
    assert "HIV" not in f"{caught.value} {getattr(caught.value, 'hint', '')}"


# --- from load to load ------------------------------------------------------------------------------------------------


def test_a_column_of_the_last_load_that_is_gone_is_an_error_unless_allowed(database: Database, tmp_path: Path) -> None:
    load_omop(database, cdm(tmp_path, measurement="1,1,100,2020-02-01,,5,,,,300,"))
    lines = (tmp_path / "measurement.csv").read_text().splitlines()
    (tmp_path / "measurement.csv").write_text("\n".join(line.rsplit(",", 2)[0] for line in lines) + "\n")
    with pytest.raises(InputError, match=r"had measurement\.unit_concept_id, measurement\.unit_source_value; this one"):
        load_omop(database, tmp_path)
    load_omop(database, tmp_path, OmopOptions(allow_missing=("measurement",)))


def test_relations_without_a_reason_to_be_invalid_are_valid(database: Database, tmp_path: Path) -> None:
    relations = [f"100,{parent},Is a,{reason}" for parent, reason in ((101, ""), (200, "NULL"), (201, "D"))]
    (tmp_path / "concept_relationship.csv").write_text(
        "concept_id_1,concept_id_2,relationship_id,invalid_reason\n" + "\n".join(relations) + "\n"
    )
    load_omop(database, cdm(tmp_path, measurement="1,1,100,2020-02-01,,5,,,,,"))
    found = rows(database, "select parents from ehr.concept where code = 'LOINC/1-1'")
    assert found == [(["LOINC/2-2", "SNOMED/10828004"],)]


def test_shared_vocabulary_update_takes_the_withdrawn_relation_away(database: Database) -> None:
    for version in ("v1", "v2"):
        result = load_omop(database, shared(f"cases/08-vocab-update/{version}"))
    assert (result.concepts > 0, result.affected) == (True, 2)
    found = rows(database, "select parents from ehr.concept where code = 'SNOMED/100'")
    assert found == [(["SNOMED/300"],)]
    assert rows(database, "select description from ehr.concept where code = 'SNOMED/300'") == [("Right parent",)]


# --- notes ------------------------------------------------------------------------------------------------------------

NOTES = """1,1,2020-01-01,100,,short,7
    2,1,2020-01-02,0,Discharge summary,secret-words of a long note,
    3,1,2020-01-03,,,NULL,"""


def notes(database: Database) -> list[tuple[Any, ...]]:
    return rows(
        database,
        "select code, description, text_value, visit_id from ehr.event where source_table = 'note' order by ordinal",
    )


def test_notes_are_read_where_they_are_asked_for(database: Database, tmp_path: Path) -> None:
    folder = cdm(tmp_path, note=NOTES)
    assert remarks(load_omop(database, folder), "not read") == {"note.csv": 1}
    assert notes(database) == []
    load_omop(database, folder, OmopOptions(notes=True))
    assert notes(database) == [
        ("LOINC/1-1", "Viral load", "short", "7"),
        ("OMOP/note:Discharge summary", "Discharge summary", "secret-words of a long note", None),
        ("OMOP/note:unknown", "unknown", None, None),
    ]
    with pytest.raises(InputError, match="the last load of omop had note; this one has not"):
        load_omop(database, folder)


def test_of_a_long_note_the_beginning_is_kept_and_counted(database: Database, tmp_path: Path) -> None:
    result = load_omop(database, cdm(tmp_path, note=NOTES), OmopOptions(notes=True, note_length=12))
    assert [text for _, _, text, _ in notes(database)] == ["short", "secret-words", None]
    assert remarks(result, "note")["cut after 12 characters"] == 1
    for length in (0, 1_000_001):
        with pytest.raises(ConfigError, match="--note-length must be 1 to 1000000"):
            OmopOptions(note_length=length)


@pytest.mark.parametrize(
    "note",
    [
        *(
            "x,1,2020-01-01,100,,secret-words,7",
            "1,1,2020-13-01,100,,secret-words,7",
            "1,9,2020-01-01,100,,secret-words,7",
        ),
        *('1,1,2020-01-01,100,,5" secret-words,7', "1,1,2020-01-01,100,,secret-words"),
    ],
)
def test_a_refused_note_is_not_shown(database: Database, tmp_path: Path, note: str) -> None:
    with pytest.raises(InputError, match=r"note\.csv") as error:
        load_omop(database, cdm(tmp_path, note=note), OmopOptions(notes=True))
    assert "secret" not in "".join(traceback.format_exception(error.value))


def test_notes_of_a_live_schema_are_read_too(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("create schema cdm")
        for name, text in {"person": "1,8507,1950", "concept": CONCEPTS, "note": NOTES}.items():
            columns = ", ".join(f"{column} text" for column in HEADERS[name].split(","))
            connection.execute(f"create table cdm.{name} ({columns})".encode())
            with connection.cursor() as cursor, cursor.copy(f"copy cdm.{name} from stdin csv".encode()) as copy:
                copy.write("".join(line.strip() + "\n" for line in text.splitlines() if line.strip()).encode())
    result = load_omop_schema(database, "cdm", options=OmopOptions(notes=True, note_length=12))
    assert [text for _, _, text, _ in notes(database)] == ["short", "secret-words", None]
    assert "not read" not in [table.source_table for table in result.tables]
