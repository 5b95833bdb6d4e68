"""`ehrdb search | match | map`, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ehrdb.database import Database
from ehrdb.embedding import refresh
from ehrdb.testing import FakeEncoder
from tests.cli.conftest import Here
from tests.records import add_encoder, write_patients


@pytest.fixture
def searchable(database: Database) -> Database:
    with database.transaction() as connection:
        write_patients(connection, 30)
        connection.execute("update ehrdb.patient set sex = case when patient_id % 2 = 0 then 'F' else 'M' end")
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    return database


def test_match_writes_pairs_balance_and_an_omop_cohort(ehrdb: Here, searchable: Database, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    with searchable.transaction() as connection:
        connection.execute("create schema results")
    result = ehrdb(
        *("match", "select generate_series(1, 3)", "--ratio", "2", "--same-sex", "--out", str(pairs)),
        *("--to-cohort", "7", "--json"),
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert len(found["pairs"]) == 6
    assert {row["covariate"]: row["standardized_difference"] for row in found["balance"]}["female"] == 0
    assert pairs.read_text().splitlines()[0] == "case_id,control_id,similarity"
    with searchable.transaction() as connection:
        rows = connection.execute("select cohort_definition_id, subject_id from results.cohort").fetchall()
    assert sorted(rows) == sorted((7, pair["control_id"]) for pair in found["pairs"])
    again = ehrdb("nearest", "1", "--cohort", "7", "--to-cohort", "7")
    assert (again.returncode, "cohort 7 has rows in results.cohort already" in again.stderr) == (2, True)
    nearest = ehrdb("nearest", "1", "--cohort", "7", "--json")
    assert {row["patient_id"] for row in json.loads(nearest.stdout)} == {pair["control_id"] for pair in found["pairs"]}


def test_match_without_cases_is_an_error(ehrdb: Here, searchable: Database) -> None:
    result = ehrdb("match", "select 1 where false")
    assert (result.returncode, "selects no cases" in result.stderr) == (2, True)


def test_a_map_is_one_file_with_a_dot_for_everybody(ehrdb: Here, searchable: Database, tmp_path: Path) -> None:
    page = tmp_path / "map.html"
    result = ehrdb("map", "--out", str(page), "--code", "SNOMED/41")
    assert result.returncode == 0, result.stderr
    text = page.read_text()
    assert text.count("<circle") == 30
    assert "yes: 1<" in text
    assert "http" not in text


def test_an_index_check_says_how_complete_searches_are(ehrdb: Here, searchable: Database) -> None:
    result = ehrdb("index", "check", "--json")
    assert json.loads(result.stdout) == {
        "encoder": "fake",
        "is_indexed": False,
        "queries": 30,
        "recall": 1.0,
        "worst": 1.0,
    }
