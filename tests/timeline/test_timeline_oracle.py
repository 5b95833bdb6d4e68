"""Timelines equal the paper's own serializers, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from ehrdb.database import Database
from ehrdb.events import load_ehrshot
from ehrdb.timeline import CONVERSIONS
from tests.conftest import shared

GOLDEN = Path(__file__).parents[1] / "golden" / "serializers"
SETS = [
    ("edge", "expected.jsonl"),
    ("one_patient", "expected.jsonl"),
    ("one_patient", "expected_ablations.jsonl"),
]
SHARED_SETS = [
    ("edge", "expected.jsonl"),
    ("public", "expected.jsonl"),
    ("public", "expected_ablations.jsonl"),
]
Case = dict[str, str]


@pytest.mark.parametrize(("folder", "expected"), SETS)
def test_every_golden_text_equals_the_papers(database: Database, folder: str, expected: str) -> None:
    assert differences(database, GOLDEN / folder / expected) == []


@pytest.mark.parametrize(("folder", "expected"), SHARED_SETS)
def test_every_text_equals_the_papers(database: Database, folder: str, expected: str) -> None:
    assert differences(database, shared(f"oracle/serializers/{folder}/{expected}")) == []


def test_the_current_timelines_are_those_as_of_the_last_event(database: Database) -> None:
    load_ehrshot(database, GOLDEN / "edge")
    with database.transaction() as connection:
        for format_name in ("list_recent", "list_recent_time", "markdown"):
            different = connection.execute(
                "select c.patient_id from ehr.current_timelines(%s) c"
                " where c.text <> ehr.timeline(c.patient_id, 'infinity', %s)"
                "    or c.text <> ehr.timeline(c.patient_id, c.last_event_time, %s)"
                "    or c.text_sha256 <> sha256(convert_to(c.text, 'UTF8'))",
                [format_name] * 3,
            ).fetchall()
            assert different == []


def test_a_partitioned_table_gives_the_same_texts(database: Database) -> None:
    expected = GOLDEN / "edge" / "expected.jsonl"
    load_ehrshot(database, expected.parent)
    with database.transaction() as connection:
        connection.execute("alter table ehrdb.event rename to event_whole")
        connection.execute(
            "create table ehrdb.event (like ehrdb.event_whole including generated) partition by hash (patient_id)"
        )
        for part in range(3):
            connection.execute(
                f"create table ehrdb.event_{part} partition of ehrdb.event"
                f" for values with (modulus 3, remainder {part})".encode()
            )
        connection.execute(
            "insert into ehrdb.event (patient_id, time, end_time, valid_to, ordinal, code_id, unit_id, numeric_value,"
            "                         text_value, visit_id)"
            " select patient_id, time, end_time, valid_to, ordinal, code_id, unit_id, numeric_value,"
            "        text_value, visit_id from ehrdb.event_whole"
        )
    for format_name, wanted in by_format(expected).items():
        assert list(texts(database, format_name, wanted)) == [case["text"] for case in wanted]


def differences(database: Database, expected: Path) -> list[tuple[str, str]]:
    """(format, patient_id) of texts that are not the expected ones."""
    load_ehrshot(database, expected.parent)
    found = []
    for format_name, wanted in by_format(expected).items():
        for case, text in zip(wanted, texts(database, format_name, wanted), strict=True):
            if text != case["text"]:
                found.append((format_name, case["patient_id"]))
    return found


def texts(database: Database, format_name: str, wanted: list[Case]) -> Iterator[str]:
    """The text of each case, by one bulk call."""
    document, _, conversion = format_name.partition("markdown_")
    with database.transaction() as connection:
        rows = connection.execute(
            "select text from ehr.timelines(%s, %s, %s) order by position",
            [
                [case["patient_id"] for case in wanted],
                [datetime.fromisoformat(case["prediction_time"]) for case in wanted],
                document or "markdown",
            ],
        ).fetchall()
    return (CONVERSIONS[conversion](text) if conversion else text for (text,) in rows)


def by_format(expected: Path) -> dict[str, list[Case]]:
    """The cases of a file by format."""
    cases: dict[str, list[Case]] = {}
    with expected.open(encoding="utf-8") as lines:
        for case in map(json.loads, lines):
            cases.setdefault(case["format"], []).append(case)
    assert cases
    return cases
