"""Readers of schema ehr wait for no load: each takes what it needs beside them."""

from __future__ import annotations

import pytest

from ehrdb.database import Database
from ehrdb.embedding import refresh
from ehrdb.events import load_omop_schema
from ehrdb.events.portions import portioned
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder
from tests.embedding.test_locks import read_meanwhile
from tests.events.test_changes import change, tables_of_patients
from tests.events.test_load_omop import hospital, rows
from tests.records import add_encoder

__all__ = ["hospital"]
SLOWLY = (
    "create schema site",
    "create function site.slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.4); return null; end'",
    "create trigger slow after insert or delete on ehrdb.event for each statement execute function site.slow()",
)
"""Long enough for a reader to give up, if the load is in her way."""


@pytest.fixture
def read_and_embedded(hospital: Database) -> Database:
    """Patients 1 and 2, with vectors; whatever writes events takes its time."""
    load_omop_schema(hospital, "cdm", "vocab")
    with hospital.transaction() as connection:
        encoder = add_encoder(connection)
    refresh(hospital, encoder, FakeEncoder)
    change(hospital, *SLOWLY)
    return hospital


def test_no_reader_waits_for_a_load(read_and_embedded: Database) -> None:
    """Of a patient who changed, one who came and one who went."""
    change(
        read_and_embedded,
        "insert into cdm.person select 3, 8507, 1970, 1, 1, null, 0, 0",
        "update cdm.person set year_of_birth = 1951, birth_datetime = null where person_id = 1",
        *map("delete from {} where person_id = 2".format, tables_of_patients(read_and_embedded)),
        "update vocab.concept set concept_name = 'Another' where concept_id = 201826",
    )
    with read_meanwhile(read_and_embedded):
        result = load_omop_schema(read_and_embedded, "cdm", "vocab")
    assert (result.new, result.changed, result.removed) == (1, 1, 1)


def test_no_reader_waits_for_a_load_in_portions(read_and_embedded: Database) -> None:
    change(
        read_and_embedded, "insert into cdm.person select n, 8507, 1970, 1, 1, null, 0, 0 from generate_series(3, 9) n"
    )
    with read_meanwhile(read_and_embedded):
        assert load_omop_schema(read_and_embedded, "cdm", "vocab", run=portioned(2, 3)).new == 7


def test_a_first_load_in_portions_leaves_the_table_to_readers(hospital: Database) -> None:
    change(hospital, *SLOWLY)
    with read_meanwhile(hospital, ("select count(*) from ehr.event", "select count(*) from ehr.patient")):
        load_omop_schema(hospital, "cdm", "vocab", run=portioned(2, 1))
    assert rows(hospital, "select count(*) > 0 from ehr.event") == [(True,)]


def test_no_reader_waits_for_an_upgrade_that_has_nothing_to_do(read_and_embedded: Database) -> None:
    with read_meanwhile(read_and_embedded):
        assert not upgrade(read_and_embedded)
