"""A database of every release can be upgraded by who owns it, and answers as it did."""

from __future__ import annotations

import json
import re

import pytest

from ehrdb import __version__
from ehrdb.database import Database
from ehrdb.schema import upgrade
from tests.migration.fixture import FOLDER, answers, dump, versions
from tests.migration.test_upgrade import definitions


@pytest.fixture(params=versions())
def restored(empty_database: Database, request: pytest.FixtureRequest) -> tuple[str, Database]:
    """A release and its database, restored by its owner."""
    with empty_database.transaction() as connection:
        connection.execute(dump(request.param).encode())
    return request.param, empty_database


def test_this_release_is_kept() -> None:
    assert __version__ in versions()


def test_an_upgraded_release_is_what_a_fresh_database_is(restored: tuple[str, Database], database: Database) -> None:
    upgrade(restored[1])
    assert shapes(restored[1]) == shapes(database)


def test_an_upgraded_release_answers_as_it_did(restored: tuple[str, Database]) -> None:
    version, database = restored
    upgrade(database)
    with database.transaction() as connection:
        said = answers(connection)
    assert said == json.loads((FOLDER / f"{version}.json").read_text(encoding="utf-8"))


def test_reports_of_loads_say_what_they_are_about(restored: tuple[str, Database]) -> None:
    names = {
        **{"measurement": "table", "all events": "table", "visits": "figures", "codes used": "figures"},
        **{"format rules: paper": "rules", "not read": "not read"},
    }
    with restored[1].transaction() as connection:
        for name in names:
            connection.execute(
                "insert into ehrdb.load_report (load_id, source, source_table, rows_read, rows_loaded)"
                " values (999, 'old', %s, 0, 0)",
                [name],
            )
    upgrade(restored[1])
    with restored[1].transaction() as connection:
        found = connection.execute("select source_table, kind from ehr.load_report where source = 'old'").fetchall()
    assert dict(found) == names


def shapes(database: Database) -> list[tuple[str, ...]]:
    """Definitions without rights, which the dump leaves out, and without the encoder's own partitions."""
    return [
        (kind, name, text)
        for kind, name, text in definitions(database, with_rights=False)
        if not re.search(r"embedding_\d+\b", name + text)
    ]
