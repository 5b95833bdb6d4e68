"""Timelines equal the paper's own serializers, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from ehrdb.database import Database
from ehrdb.sources import load_ehrshot
from tests.conftest import shared

Case = dict[str, str]


def cases(path: Path) -> Iterator[Case]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def texts(database: Database, wanted: list[Case]) -> list[str]:
    """The text of each case, by one bulk call."""
    with database.transaction() as connection:
        rows = connection.execute(
            "select text from ehr.timelines(%s, %s, %s) order by position",
            [
                [case["patient_id"] for case in wanted],
                [datetime.fromisoformat(case["prediction_time"]) for case in wanted],
                wanted[0]["format"],
            ],
        )
        return [text for (text,) in rows]


@pytest.mark.parametrize(
    "expected",
    [
        "serializers/edge/expected.jsonl",
        "serializers/public/expected.jsonl",
        "serializers/public/expected_ablations.jsonl",
    ],
)
def test_every_text_equals_the_papers(database: Database, expected: str) -> None:
    file = shared(f"oracle/{expected}")
    load_ehrshot(database, file.parent)
    by_format: dict[str, list[Case]] = {}
    for case in cases(file):
        by_format.setdefault(case["format"], []).append(case)
    for format_name, wanted in by_format.items():
        if not format_name.startswith("list"):
            continue
        got = texts(database, wanted)
        different = [
            (format_name, case["patient_id"]) for case, text in zip(wanted, got, strict=True) if text != case["text"]
        ]
        assert different == []
