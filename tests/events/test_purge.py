"""A purge: everything of its patients goes, and nothing of anybody else's."""

from __future__ import annotations

from ehrdb.database import Connection, Database
from ehrdb.embedding import refresh
from ehrdb.events.purge import purge
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write

# Rows of every patient there is, in the tables that neither a record nor a refresh fills.
ROWS_OF_EVERYBODY = """
insert into ehrdb.task values ('sepsis', 'site', 'binary', '', '{}');
insert into ehrdb.label select 'sepsis', patient_id, '2020-01-01', 1 from ehrdb.patient;
insert into ehrdb.radiology_report select patient_id, '2020-01-01', 1 from ehrdb.patient;
insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance)
select 'sepsis', 'sepsis', encoder_id, prompt_id, '[1, 2, 3, 4, 5, 6, 7, 8]', 0, '{}' from ehrdb.encoder;
select ehrdb.store_predictions(null, null);
update ehrdb.event set visit_id = 'v1';
insert into ehrdb.embedding_job (encoder_id, content_sha256, prompt_id, patient_id, as_of, characters)
select encoder_id, sha256(int8send(patient_id)), prompt_id, patient_id, '2020-01-01', 0
  from ehrdb.encoder, ehrdb.patient;
"""


def rows_of(connection: Connection, patients: list[int]) -> dict[str, int]:
    """How many rows each table and view has of these patients."""
    tables = connection.execute(
        "select table_name from information_schema.columns where table_schema = 'ehrdb' and column_name = 'patient_id'"
    ).fetchall()
    question = "select from ehrdb.{} where patient_id = any (%s)"
    return {name: connection.execute(question.format(name).encode(), [patients]).rowcount for (name,) in tables}


def test_every_table_that_knows_patients_loses_them_and_keeps_the_others(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), f"SNOMED/{p}") for p in (1, 2, 3)])
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        connection.execute(ROWS_OF_EVERYBODY.encode())
        before = rows_of(connection, [2, 3])
    removed = purge(database, [1])
    assert {table: rows > 0 for table, (rows, _) in removed.items()} == dict.fromkeys(removed, True)
    assert {table: rows for table, (_, rows) in removed.items() if rows} == {}
    with database.transaction() as connection:
        assert rows_of(connection, [2, 3]) == before


def test_a_vector_stays_while_another_patient_shows_it_and_goes_with_the_last(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), "SNOMED/same") for p in (1, 2)])
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    kept = []
    for patient in (1, 2):
        purge(database, [patient])
        with database.transaction() as connection:
            kept.append(connection.execute("select from ehrdb.embedding").rowcount)
    assert kept == [1, 0]
