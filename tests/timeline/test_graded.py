"""The graded list: numbers in words, by reference intervals that are data."""

from __future__ import annotations

from datetime import datetime

import pytest

from ehrdb.database import Connection
from ehrdb.timeline import timeline
from tests.records import Record, day, write

POTASSIUM = "text of LOINC/2823-3"


def lines(connection: Connection, as_of: datetime | None = None, format_name: str = "list_graded") -> list[str]:
    return timeline(connection, 1, as_of, format_name).text.split("\n")


@pytest.mark.parametrize(
    ("value", "grade"),
    [
        (1.5, "very low"),
        (3.0, "moderately low"),
        (3.4, "slightly low"),
        (3.5, "low normal"),
        (4.2, "normal"),
        (5.0, "high normal"),
        (5.1, "slightly high"),
        (6.0, "high"),
        (9.0, "extremely high"),
    ],
)
def test_a_value_is_said_by_how_far_it_lies_from_its_interval(connection: Connection, value: float, grade: str) -> None:
    write(connection, [Record(1, day(1), "LOINC/2823-3", value, unit="mmol/L")])
    assert lines(connection) == [f"{grade} {POTASSIUM}"]


@pytest.mark.parametrize(
    ("code", "value", "unit", "line"),
    [
        ("LOINC/718-7", 135.0, "g/L", "normal text of LOINC/718-7"),
        ("LOINC/8310-5", 104.0, "[degF]", "very high text of LOINC/8310-5"),
        ("LOINC/9269-2", 15.0, None, "normal text of LOINC/9269-2"),
        ("LOINC/9269-2", 3.0, "{score}", "extremely low text of LOINC/9269-2"),
        ("LOINC/2085-9", 80.0, "mg/dL", "normal text of LOINC/2085-9"),
    ],
)
def test_units_are_converted_and_intervals_may_be_open(
    connection: Connection, code: str, value: float, unit: str | None, line: str
) -> None:
    write(connection, [Record(1, day(1), code, value, unit=unit)])
    assert lines(connection) == [line]


@pytest.mark.parametrize(
    ("value", "unit", "line"),
    [
        (4.237, "furlong", f"{POTASSIUM} (furlong): 4.2"),
        (4.237, None, f"{POTASSIUM}: 4.2"),
        (4237.0, "mmol/L", f"{POTASSIUM} (mmol/L): 4200"),
        (0.0, None, f"{POTASSIUM}: 0"),
        (-0.00456, None, f"{POTASSIUM}: -0.0046"),
        (float("nan"), None, f"{POTASSIUM}: nan"),
        (float("-inf"), None, f"{POTASSIUM}: -inf"),
    ],
)
def test_without_a_known_unit_or_a_plausible_value_the_number_stands_to_two_digits(
    connection: Connection, value: float, unit: str | None, line: str
) -> None:
    write(connection, [Record(1, day(1), "LOINC/2823-3", value, unit=unit)])
    assert lines(connection) == [line]


def test_a_code_of_meds_is_graded_by_its_parent_or_by_its_name(connection: Connection) -> None:
    write(connection, [Record(1, day(1), "LAB//K", 7, unit="mmol/L"), Record(1, day(1), "LAB//HR", 80, unit="bpm")])
    write(connection, [Record(2, day(1), "LOINC/2823-3")])
    connection.execute(
        "insert into ehrdb.concept_parent (child_id, parent_id) select child.code_id, parent.code_id"
        " from ehrdb.concept child, ehrdb.concept parent where child.code = 'LAB//K' and parent.code = 'LOINC/2823-3'"
    )
    connection.execute("update ehrdb.concept set description = 'Heart rate' where code = 'LAB//HR'")
    connection.execute("select ehrdb.refresh_texts()")
    assert lines(connection) == ["very high text of LAB//K", "normal Heart rate"]


def test_age_comes_first_by_its_decade_at_the_moment(connection: Connection) -> None:
    write(connection, [Record(1, datetime(1960, 1, 10), "SNOMED/3950001"), Record(1, day(5), "SNOMED/1")])
    assert lines(connection, day(9)) == ["Aged 50 to 59", "text of SNOMED/1", "text of SNOMED/3950001"]
    assert lines(connection, day(10)) == ["Aged 60 to 69", "text of SNOMED/1", "text of SNOMED/3950001"]
    assert lines(connection, datetime(1960, 1, 9)) == [""]
    assert lines(connection, day(9), "list_graded_no_demographics") == ["text of SNOMED/1"]
    shown = connection.execute("select ehr.timeline(1, %s, 'list_graded', '7 days')", [day(10)]).fetchone()
    assert shown == ("Aged 60 to 69\ntext of SNOMED/1",)


def test_it_shows_the_events_of_list_recent_in_their_order(connection: Connection) -> None:
    write(
        connection,
        [
            Record(1, day(1), "SNOMED/1", text="left"),
            Record(1, day(2), "LOINC/2823-3", 4, unit="mmol/L"),
            Record(1, day(3), "LOINC/2823-3", 7, unit="mmol/L"),
            Record(1, day(3), "RxNorm/1", text="x" * 300),
        ],
    )
    assert lines(connection) == [f"very high {POTASSIUM}", "text of RxNorm/1: " + "x" * 300, "text of SNOMED/1: left"]
    assert lines(connection, day(2)) == [f"normal {POTASSIUM}", "text of SNOMED/1: left"]
