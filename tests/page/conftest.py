"""A hospital of two sites: alice sees patients 1 to 10, bob the others; the page asks as whoever signed in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from psycopg.conninfo import conninfo_to_dict

from ehrdb.database import Database
from ehrdb.embedding import refresh
from ehrdb.testing import FakeEncoder
from tests.conftest import created_role, run
from tests.filled import filled_once
from tests.records import Record, add_encoder, add_head, day, write, write_patients

ALICE, BOB = (f"ehrdb_{name}_{os.getpid()}" for name in ("alice", "bob"))
HOSTILE = "<script>document.title='owned'</script> \u202eesrever\u2066 '\"><img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def template(server_url: str, owner_url: str, template: str) -> Iterator[str]:
    """Twenty embedded patients, a head, and two roles that the owner may take."""
    login = conninfo_to_dict(owner_url)["user"]
    with ExitStack() as stack:
        for name in (ALICE, BOB):
            stack.enter_context(created_role(server_url, name, "in role ehr_analyst"))
            run(server_url, f"grant {name} to {login}")
        yield stack.enter_context(filled_once(server_url, owner_url, template, "hospital", _fill))


@pytest.fixture
def hospital(database: Database) -> Database:
    """A copy of that."""
    return database


def _fill(database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 20)
        measured = [Record(1, day(n), "LOINC/718-7", 12.0 + n, unit="g/dL") for n in (21, 22, 23)]
        write(connection, [*measured, Record(1, day(24), "SITE/note", text=HOSTILE + "x" * 100_000)])
        connection.execute(
            "insert into ehrdb.task values ('sepsis', 'site', 'binary', '', '{\"shape\": \"imported\"}')"
        )
        encoder = add_encoder(connection)
        add_head(connection, "sepsis", encoder)
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        connection.execute("create schema site")
        connection.execute("grant usage on schema site to ehr_analyst")
        connection.execute(
            b"create view site.visible with (security_barrier) as"
            b" select n::bigint as patient_id from generate_series(1, 20) n"
            + f" where (n <= 10) = (current_user = '{ALICE}')".encode()
        )
        connection.execute("grant select on site.visible to ehr_analyst")
        connection.execute("select ehr.protect('site.visible')")
