"""The SQL reference says what the database says."""

from __future__ import annotations

from docs.make_sql_api import TARGET, document
from ehrdb.database import Connection


def test_the_sql_reference_is_current(connection: Connection) -> None:
    assert TARGET.read_text(encoding="utf-8") == document(connection), "run `make docs`"
