"""`ehr.timeline` and its relatives: arguments, settings, a site's own formats, errors."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg
import pytest

from ehrdb.database import Connection
from ehrdb.events.units import describe_units
from ehrdb.timeline import timeline
from tests.records import Record, day, write

RECORD = [
    Record(1, day(1), "SNOMED/3950001"),
    Record(1, day(2), "LOINC/718-7", 9.5, unit="g/dL"),
    Record(1, day(3), "RxNorm/1"),
    Record(1, day(4), "LOINC/718-7", 12.125, unit="g/dL"),
    Record(1, day(4), "SNOMED/22298006", text="left"),
]


@pytest.fixture
def record(connection: Connection) -> Connection:
    """A connection to a database with one small record."""
    write(connection, RECORD)
    return connection


def text_of(connection: Connection, format_name: str = "list_recent", as_of: datetime | None = None) -> str:
    return timeline(connection, 1, as_of, format_name).text


def test_the_latest_value_of_each_code_comes_newest_first(record: Connection) -> None:
    assert text_of(record).split("\n") == [
        "text of LOINC/718-7 (g/dL): 12.12",
        "text of SNOMED/22298006: left",
        "text of RxNorm/1",
        "text of SNOMED/3950001",
    ]


def test_the_moment_itself_is_included(record: Connection) -> None:
    assert "9.5" in text_of(record, as_of=day(2))
    assert "9.5" not in text_of(record, as_of=day(2) - timedelta(seconds=1))


def test_a_value_is_replaced_at_the_moment_of_the_next(record: Connection) -> None:
    assert "9.5" in text_of(record, as_of=day(4) - timedelta(microseconds=1))
    assert "9.5" not in text_of(record, as_of=day(4))


def test_a_fact_without_a_time_is_always_known_and_has_no_time(record: Connection) -> None:
    record.execute("update ehrdb.event set time = '-infinity' where ordinal = 0")
    assert text_of(record, "list_recent_time", datetime(1900, 1, 1)) == "text of SNOMED/3950001"
    assert text_of(record, "markdown").count("text of SNOMED/3950001") == 1


def test_a_time_window_leaves_out_what_is_older(record: Connection) -> None:
    found = timeline(record, 1, day(4), time_window=timedelta(days=1)).text
    assert found.split("\n")[-1] == "text of RxNorm/1"
    assert timeline(record, 1, day(4), "list_first", time_window=timedelta(days=2)).text.startswith(
        "text of LOINC/718-7 (g/dL): 9.5"
    )


@pytest.mark.parametrize("max_chars", [1, 33, 34, 35, 63, 64, 10_000])
def test_max_chars_cuts_only_lines_that_begin_later(record: Connection, max_chars: int) -> None:
    whole = text_of(record)
    found = timeline(record, 1, max_chars=max_chars)
    starts = [0, *(place + 1 for place, character in enumerate(whole) if character == "\n")]
    kept = sum(start < max_chars for start in starts)
    assert found.text == "\n".join(whole.split("\n")[:kept])
    assert found.lines_cut == len(starts) - kept


def test_a_long_text_is_shown_whole(record: Connection) -> None:
    record.execute("update ehrdb.event set text_value = repeat('long ', 2000) where ordinal = 4")
    assert text_of(record).count("long ") == 2000
    row = record.execute("select text from ehr.current_timeline").fetchone()
    assert row == (text_of(record),)


def test_excluded_vocabularies_are_a_setting(record: Connection) -> None:
    record.execute("insert into ehrdb.excluded_vocabulary values ('RXNORM')")
    assert "RxNorm" not in text_of(record)
    record.execute("delete from ehrdb.excluded_vocabulary where vocabulary = 'RXNORM'")
    assert "RxNorm" in text_of(record)


def test_a_new_description_shows_at_once(record: Connection) -> None:
    record.execute("update ehrdb.concept set description = 'Aspirin' where code = 'RxNorm/1'")
    assert "Aspirin" in text_of(record)


def test_custom_texts_replace_a_vocabulary(record: Connection) -> None:
    record.execute("insert into ehrdb.custom_text values ('RxNorm', 'other', 'Other')")
    assert "RxNorm" not in text_of(record)
    record.execute("insert into ehrdb.custom_text values ('RxNorm', '1', 'Aspirin')")
    assert "Aspirin" in text_of(record)


def test_categories_combine(record: Connection) -> None:
    assert text_of(record, "list_recent_no_labs_no_medications") == (
        "text of SNOMED/22298006: left\ntext of SNOMED/3950001"
    )
    assert text_of(record, "list_first_only_medications_only_labs") == (
        "text of LOINC/718-7 (g/dL): 9.5\ntext of RxNorm/1"
    )


def test_a_site_copies_rules_under_a_format_of_its_own(record: Connection) -> None:
    record.execute(
        "insert into ehrdb.format (name, version, kind, rules, description)"
        " values ('list_site', 1, 'list', 'site', 'Ours.')"
    )
    record.execute(
        "insert into ehrdb.category_rule select 'site', rule, kind, pattern, category"
        "  from ehrdb.category_rule where rules = 'paper'"
    )
    record.execute(
        "update ehrdb.category_rule set category = 'procedures' where rules = 'site' and pattern = 'RxNorm/'"
    )
    assert text_of(record, "list_site_only_procedures") == "text of RxNorm/1"
    assert text_of(record, "list_recent_only_procedures") == ""


def test_the_corrected_preset_rates_by_the_printed_bounds(record: Connection) -> None:
    write(
        record,
        [Record(1, day(5), "LOINC/8310-5", 100.3, unit="[degF]"), Record(1, day(5), "LOINC/789-8", 4.2, unit="m/uL")],
    )
    paper, corrected = (text_of(record, name) for name in ("markdown", "markdown_corrected"))
    assert "100.3 (high)" in paper
    assert "100.3 (normal)" in corrected
    assert "4.20 (low)" in paper
    assert "4.20 (normal)" in corrected


def test_the_corrected_preset_converts_to_the_printed_unit(record: Connection) -> None:
    write(
        record,
        [Record(1, day(5), "LOINC/8302-2", 152.4, unit="cm"), Record(1, day(5), "LOINC/718-7", 7, unit="mmol/L")],
    )
    paper, corrected = (text_of(record, name) for name in ("markdown", "markdown_corrected"))
    assert "- Hemoglobin (g/dL): 7.0 (low), 12.1 (normal), 9.5 (low)" in paper
    assert "- Body height: No recent data" in paper
    assert "- Hemoglobin (g/dL): 12.1 (normal), 9.5 (low)" in corrected
    assert "- text of LOINC/718-7 (mmol/L): 7" in corrected
    assert "- Body height (inch): 60.0" in corrected


def test_the_corrected_preset_shows_a_value_without_unit_under_none(record: Connection) -> None:
    write(record, [Record(1, day(5), "LOINC/29463-7", 2500), Record(1, day(6), "LOINC/29463-7", 70, unit="kg")])
    corrected = text_of(record, "markdown_corrected")
    assert "- Body weight (oz): 2469.2" in corrected
    assert "- text of LOINC/29463-7: 2500" in corrected


def test_the_corrected_preset_converts_within_a_line_and_keeps_apart_what_cannot_be(record: Connection) -> None:
    values = [(50, "mg/L"), (4, "mg/dL"), (3, "mmol/L"), (7, None), (2, "foo"), (6, "MG/DL")]
    write(record, [Record(1, day(5 + n), "LOINC/1988-5", v, unit=u) for n, (v, u) in enumerate(values)])
    describe_units(record)
    lines = [line for line in text_of(record, "markdown_corrected").split("\n") if "1988-5" in line]
    assert lines == [
        "- text of LOINC/1988-5 (MG/DL): 5, 4, 6",
        "- text of LOINC/1988-5 (mmol/L): 3",
        "- text of LOINC/1988-5: 7",
        "- text of LOINC/1988-5 (foo): 2",
    ]


def test_temperatures_are_converted_with_their_zero(record: Connection) -> None:
    write(record, [Record(1, day(5), "X/1", 37, unit="Cel"), Record(1, day(6), "X/1", 98.6, unit="degF")])
    describe_units(record)
    assert "- text of X/1 (degF): 98.6, 98.6" in text_of(record, "markdown_corrected")


def test_visits_of_any_code_are_visits_of_markdown(record: Connection) -> None:
    write(record, [Record(1, day(6), "HOSPITAL_ADMISSION//ER"), Record(1, day(7), "LAB//1", 5)])
    record.execute("update ehrdb.event set visit_class = 'inpatient' where ordinal = 5")
    for name in ("markdown", "markdown_corrected"):
        found = text_of(record, name).split("## Past Medical Visits")[1]
        assert found.startswith("\n\n- text of HOSPITAL_ADMISSION//ER on [2023-12-31]")
    assert "- text of LAB//1: 5" in found.split("## General Medical Events")[1]


def test_codes_of_meds_have_categories_by_their_names_and_by_their_parents(record: Connection) -> None:
    write(record, [Record(1, day(6), "LAB//1", 5), Record(1, day(6), "X//2", 6), Record(1, day(6), "Y//3")])
    record.execute(
        "insert into ehrdb.concept (code, vocabulary) values ('LOINC/2160-0', 'LOINC');"
        " insert into ehrdb.concept_parent (child_id, parent_id)"
        " select c.code_id, p.code_id from ehrdb.concept c, ehrdb.concept p"
        "  where c.code = 'X//2' and p.code = 'LOINC/2160-0'"
    )
    assert {"text of LAB//1: 5", "text of X//2: 6"} < set(text_of(record, "list_recent_only_labs").split("\n"))
    assert "- Creatinine (mg/dL): 6.0 (high)" in text_of(record, "markdown")
    assert "text of Y//3" in text_of(record, "list_recent_only_conditions")


def test_codes_of_meds_are_measured_by_the_names_of_loinc(record: Connection) -> None:
    write(record, [Record(1, day(6), "LAB//50971//mEq/L", 5.5, unit="mEq/L")])
    record.execute(
        "update ehrdb.concept set description = 'Potassium [Moles/volume] in Serum or Plasma'"
        " where code = 'LAB//50971//mEq/L'"
    )
    for name in ("markdown", "markdown_corrected"):
        assert "- Potassium (mmol/L): 5.5 (high)" in text_of(record, name)


def test_the_corrected_preset_keeps_what_begins_with_birth(record: Connection) -> None:
    write(record, [Record(1, day(5), "SNOMED/364589006")])
    record.execute("update ehrdb.concept set description = 'Birth weight' where code = 'SNOMED/364589006'")
    assert "Birth weight" not in text_of(record, "markdown")
    assert "Birth weight" in text_of(record, "markdown_corrected")


def test_json_yaml_and_xml_are_made_from_markdown(record: Connection) -> None:
    assert text_of(record, "json").startswith('{"Electronic Healthcare Record": {')
    assert text_of(record, "yaml").startswith("Electronic Healthcare Record:\n")
    assert text_of(record, "xml").startswith('<?xml version="1.0" encoding="UTF-8" ?>\n<all>')


def test_a_patient_without_visible_events_has_an_empty_text(record: Connection) -> None:
    """In any format, and in the place that was asked for; somebody unknown has one as well."""
    for (format_name,) in record.execute("select name from ehr.format").fetchall():
        texts = record.execute(
            "select array_agg(text = '' order by position)"
            "  from ehr.timelines(array[1, 1, 2], array['1900-01-01', '2100-01-01', '2100-01-01']::timestamp[], %s)",
            [format_name],
        ).fetchone()
        assert texts is not None
        assert (texts[0][0], texts[0][2]) == (True, True), format_name


@pytest.mark.parametrize(
    ("statement", "sqlstate", "hint"),
    [
        ("select ehr.timeline(2)", "EH001", "ehr.patient"),
        ("select ehr.timeline(1, format => 'poem')", "EH002", "ehr.format"),
        ("select ehr.timeline(1, format => 'list_recent_no_poems')", "EH002", "ehr.format"),
        ("select ehr.timeline(1, format => 'markdown_no_labs')", "EH002", "ehr.format"),
        ("select ehr.timeline(1, format => 'xml')", "EH002", "ehrdb timeline"),
        ("select ehr.timeline(1, null)", "EH007", "infinity"),
        ("select ehr.timeline(1, max_chars => 0)", "EH007", "max_chars"),
        ("select * from ehr.timelines(array[1, 1], array['infinity']::timestamp[])", "EH007", "moment"),
    ],
)
def test_what_is_not_there_is_named_with_a_hint(record: Connection, statement: str, sqlstate: str, hint: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        record.execute(statement.encode())
    assert caught.value.diag.sqlstate == sqlstate
    assert hint in (caught.value.diag.message_hint or "")


def test_every_listed_format_can_be_asked_for(record: Connection) -> None:
    names = [name for (name,) in record.execute("select name from ehr.format")]
    assert len(names) == 8 + 2 * 6 * 5
    for name in names:
        timeline(record, 1, None, name)


@pytest.mark.parametrize(("visit_class", "says"), [("inpatient", True), ("outpatient", False)])
def test_an_open_stay_reads_the_same_whether_its_end_is_recorded_later_or_not(
    connection: Connection, visit_class: str, says: bool
) -> None:
    moment = day(5)
    write(
        connection,
        [Record(1, day(1), "SNOMED/1"), Record(1, day(3), "Visit/IP"), Record(1, day(4), "SNOMED/2")],
    )
    connection.execute("update ehrdb.event set visit_class = %s, visit_id = '7' where time = %s", [visit_class, day(3)])

    def text() -> str:
        row = connection.execute("select ehr.timeline(1, %s, 'markdown_corrected')", [moment]).fetchone()
        assert row is not None
        return str(row[0])

    before = text()
    connection.execute("update ehrdb.event set end_time = %s where visit_id = '7'", [day(9)])
    assert text() == before
    assert ("current visit" in before) is says
    connection.execute("update ehrdb.event set end_time = %s where visit_id = '7'", [day(5)])
    assert "current visit" not in text()
