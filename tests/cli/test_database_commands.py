"""`ehrdb upgrade | status | nearest`, as a user sees them."""

from __future__ import annotations

import json
import re

import pytest

from ehrdb.database import Database
from ehrdb.embedding import refresh
from ehrdb.testing import FakeEncoder
from tests.cli.conftest import Here
from tests.records import add_encoder, write_patients


@pytest.fixture
def answering(database: Database) -> Database:
    """Seven patients, six of them embedded."""
    with database.transaction() as connection:
        write_patients(connection, 6)
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        write_patients(connection, 7)
    return database


def test_status_shows_figures_as_people_write_them(ehrdb: Here, answering: Database) -> None:
    shown = ehrdb("status").stdout
    assert re.search(r"coverage +85\.7%", shown)
    assert re.search(r"last_run +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00 *$", shown, re.MULTILINE)
    assert not re.search(r"\d\.\d{3}", shown)
    assert json.loads(ehrdb("status", "--json").stdout)["encoders"][0]["coverage"] == pytest.approx(6 / 7)


def test_nearest_keeps_to_a_cohort(ehrdb: Here, answering: Database) -> None:
    cohort = "select patient_id from ehr.patient where patient_id in (2, 3)"
    rows = json.loads(ehrdb("nearest", "1", "--cohort", cohort, "--json").stdout)
    assert {row["patient_id"] for row in rows} == {2, 3}


def test_a_dry_run_says_what_a_superuser_must_do_and_changes_nothing(ehrdb: Here, bare_database: Database) -> None:
    result = ehrdb.asking(bare_database.url)("upgrade", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "the extension vector is missing" in result.stdout
    with bare_database.transaction() as connection:
        assert connection.execute("select to_regnamespace('ehrdb')").fetchone() == (None,)


def test_a_dry_run_tells_an_installed_database_from_an_empty_one(
    ehrdb: Here, database: Database, empty_database: Database
) -> None:
    assert "applied anew" in ehrdb.asking(empty_database.url)("upgrade", "--dry-run").stdout
    ehrdb.asking(database.url)
    assert "as they are" in ehrdb("upgrade", "--dry-run").stdout
    assert "nothing changed" in ehrdb("upgrade").stderr
    assert "upgraded" in ehrdb("upgrade", "--force").stderr
