"""`ehrdb upgrade`: upgraded = fresh, repeatable, and kind to users' own objects."""

from __future__ import annotations

import pytest

from ehrdb.database import Database
from ehrdb.errors import SchemaOutdated
from ehrdb.schema import require_current, upgrade


def test_upgrade_again_changes_nothing(database: Database) -> None:
    assert upgrade(database) is False


def test_a_database_without_the_schema_says_what_to_run(empty_database: Database) -> None:
    with (
        empty_database.transaction() as connection,
        pytest.raises(SchemaOutdated) as caught,
    ):
        require_current(connection)
    assert caught.value.hint == "Run `ehrdb upgrade`."


def test_a_users_view_survives_reapplying_all_sql(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("create view public.mine as select patient_id from ehr.patient")
        connection.execute("update ehrdb.schema_state set sql_sha256 = 'older'")
    assert upgrade(database) is True
    with database.transaction() as connection:
        assert connection.execute("select count(*) from public.mine").fetchone() == (0,)
