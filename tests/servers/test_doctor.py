"""`ehrdb doctor`: each fault is found, with who must do what; what it advises mends it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ehrdb.config import Settings
from ehrdb.database import Connection, Database
from ehrdb.doctor import Finding, examine
from ehrdb.embedding import refresh
from ehrdb.events import load_ehrshot
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder
from tests.cli.conftest import command
from tests.records import add_encoder, write_patients


@pytest.fixture(autouse=True)
def _runs_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ehrdb.doctor.load_encoder", lambda settings, encoder: FakeEncoder())


def find(database: Database, check: str, tmp_path: Path) -> list[Finding]:
    """What is not as it should be under that check."""
    findings = examine(Settings(database_url=database.url, home=tmp_path))
    return [found for found in findings if found.check == check and found.status != "ok"]


def test_a_sound_database_has_no_fault(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        write_patients(connection, 3)
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    (tmp_path / "encoders" / "fake").mkdir(parents=True)
    findings = examine(Settings(database_url=database.url, home=tmp_path))
    checks = {found.check for found in findings}
    assert [found for found in findings if found.status == "fault"] == []
    assert checks >= {
        "connection",
        "server",
        "clock",
        "rights",
        "pgvector",
        "schema",
        "objects",
        "roles",
        "encoders",
    }


def test_a_missing_and_a_changed_function_are_named_and_mended_by_force(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        connection.execute("drop function ehr.nearest_outcomes")
        connection.execute("create or replace function ehrdb.exact_search_bound() returns integer return 5")
    found = find(database, "objects", tmp_path)
    assert len(found) == 2
    assert "function ehr.nearest_outcomes" in found[0].found + found[1].found
    assert {finding.who for finding in found} == {"owner"}
    assert upgrade(database) is False  # it says itself that nothing changed
    assert upgrade(database, force=True) is True
    assert find(database, "objects", tmp_path) == []


def test_a_missing_index_is_named(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        connection.execute("drop index ehrdb.label_by_patient")
    (found,) = find(database, "objects", tmp_path)
    assert found.found == "index ehrdb.label_by_patient is missing"


def test_a_grant_that_was_revoked_is_named_with_its_sql(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        connection.execute("revoke select on ehr.patient from ehr_analyst")
    (found,) = find(database, "roles", tmp_path)
    assert "select on ehr.patient" in found.advice
    upgrade(database)
    assert find(database, "roles", tmp_path) == []


def test_it_runs_for_a_reader(analyst: Database, tmp_path: Path) -> None:
    findings = examine(Settings(database_url=analyst.url, home=tmp_path))
    assert [found for found in findings if found.status == "fault"] == []
    assert any(found.check == "objects" for found in findings)


def test_a_stranger_is_told_the_grant(database: Database, analyst: Database, superuser: Connection) -> None:
    with analyst.transaction() as connection:
        role = connection.info.user
    superuser.execute(f"revoke ehr_analyst from {role}".encode())
    superuser.execute("commit")
    try:
        findings = examine(Settings(database_url=analyst.url))
    finally:
        superuser.execute(f"grant ehr_analyst to {role}".encode())
        superuser.execute("commit")
    (found,) = [found for found in findings if found.check == "reading"]
    assert (found.who, found.advice) == ("superuser", f'grant "ehr_analyst" to "{role}";')


def test_an_empty_database_is_told_what_comes_first(bare_database: Database, tmp_path: Path) -> None:
    (vector,) = find(bare_database, "pgvector", tmp_path)
    assert vector.who == "superuser"
    assert "create extension vector;" in vector.advice
    assert [found.advice for found in find(bare_database, "schema", tmp_path)] == ["ehrdb upgrade"]


def test_time_limits_are_named(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        connection.execute(f"alter database {connection.info.dbname} set statement_timeout = '7s'".encode())
    database.engine.dispose()
    (found,) = find(database, "limits", tmp_path)
    assert found.found.startswith("statement_timeout is 7000ms")


def test_heads_without_vectors_and_tasks_without_heads_are_named(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        encoder = add_encoder(connection)
        for task in ("with_head", "without"):
            connection.execute("insert into ehrdb.task values (%s, 'own', 'binary', 'a task', '{}')", [task])
            connection.execute("insert into ehrdb.label values (%s, 1, '2020-01-01', 1)", [task])
        connection.execute(
            "insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance)"
            " values ('with_head', 'with_head', %s, %s, '[1]', 0, '{}')",
            [encoder.encoder_id, encoder.prompt_id],
        )
    advice = [found.advice for found in find(database, "heads", tmp_path)]
    assert advice == ["ehrdb refresh --encoder fake", "ehrdb train without"]


def test_the_command_prints_json_and_a_truthful_exit_status(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        connection.execute("drop view ehr.head")
    result = command({"EHRDB_DATABASE_URL": database.url, "EHRDB_HOME": str(tmp_path)})("doctor", "--json")
    assert result.returncode == 1
    assert any(found["status"] == "fault" and "ehr.head" in found["found"] for found in json.loads(result.stdout))


def test_formats_that_know_few_codes_are_named(database: Database, tmp_path: Path) -> None:
    (tmp_path / "ehrshot.csv").write_text(
        "patient_id,start,end,code,value,unit,visit_id,omop_table\n1,2020-01-01,,OWN/1,,,,x\n1,2020-01-02,,LOINC/1,,,,x\n"
        "1,2020-01-02,,OWN/2,,,,x\n"
    )
    (tmp_path / "concept.csv").write_text("code,description\n")
    load_ehrshot(database, tmp_path)
    found = find(database, "formats", tmp_path)
    assert [finding.status for finding in found] == ["warning"] * 3  # corrected, graded, paper
    assert found[0].found == "33% of the events of ehrshot have a category by the rules corrected"
