"""What texts are made of changes, by whatever means: whoever is concerned is embedded again, and nobody else."""

from __future__ import annotations

import pytest

from ehrdb.database import Database
from ehrdb.embedding import refresh, registry
from ehrdb.embedding.queue import Queue
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write


@pytest.fixture
def encoder(database: Database) -> RegisteredEncoder:
    """Patients 1 and 2 have a code that 3 has not; all are embedded."""
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), f"SNOMED/{p}") for p in (1, 2, 3)])
        write(connection, [Record(p, day(2), "LOINC/x", value=1.5, unit="mg") for p in (1, 2)])
        found = add_encoder(connection)
    refresh(database, found, FakeEncoder)
    return found


def change(database: Database, statement: str) -> None:
    with database.transaction() as connection:
        connection.execute(statement.encode())


def marked(database: Database) -> set[int]:
    with database.transaction() as connection:
        return {patient for (patient,) in connection.execute("select patient_id from ehrdb.changed_patient")}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("update ehrdb.concept set description = 'other words' where code = 'LOINC/x'", {1, 2}),
        ("insert into ehrdb.custom_text (vocabulary, code, description) values ('LOINC', 'x', 'ours')", {1, 2}),
        ("insert into ehrdb.excluded_vocabulary values ('LOINC')", {1, 2}),
        ("insert into ehrdb.code_map (map, code, standard_code) values ('m', 'LOINC/x', 'SNOMED/9')", {1, 2}),
        ("update ehrdb.unit set unit = 'mg/d'", {1, 2, 3}),
        ("update ehrdb.aggregated_concept set decimals = 0", {1, 2, 3}),
        ("update ehrdb.format set version = version", {1, 2, 3}),
        ("update ehrdb.concept set description = description", set()),
        ("update ehrdb.unit set factor = 2", set()),
        ("insert into ehrdb.concept (code, vocabulary, description) values ('LOINC/new', 'LOINC', 'new')", set()),
    ],
)
def test_a_change_by_sql_marks_whom_it_concerns(
    database: Database, encoder: RegisteredEncoder, statement: str, expected: set[int]
) -> None:
    change(database, statement)
    assert marked(database) == expected


def test_a_rule_of_categories_marks_whom_it_sorts_otherwise(database: Database, encoder: RegisteredEncoder) -> None:
    change(
        database,
        "insert into ehrdb.category_rule (rules, rule, kind, pattern, category)"
        " select distinct rules, -1, 'code', 'LOINC/x', 'medications' from ehrdb.category_rule",
    )
    assert marked(database) == {1, 2}


def test_a_new_description_is_embedded_by_the_next_refresh(database: Database, encoder: RegisteredEncoder) -> None:
    change(database, "update ehrdb.concept set description = 'other words' where code = 'LOINC/x'")
    model = FakeEncoder()
    result = refresh(database, encoder, lambda: model)
    assert (result.embedded, result.exit_code) == (2, 0)
    assert all("other words" in text for text in model.seen)


def test_what_changes_while_it_waits_in_the_queue_is_embedded_in_the_same_run(
    database: Database, encoder: RegisteredEncoder
) -> None:
    with database.transaction() as connection:
        write(connection, [Record(1, day(28), "SNOMED/late")])
        connection.execute("select ehrdb.plan_refresh()")
        connection.execute("alter table ehrdb.concept_text disable trigger mark_updated")  # behind our back
        connection.execute("update ehrdb.concept set description = 'other words' where code = 'SNOMED/late'")
    result = refresh(database, encoder, FakeEncoder)
    assert (result.embedded, result.outdated, result.exit_code) == (1, 0, 0)
    with database.transaction() as connection:
        assert connection.execute("select count(*) from ehrdb.served_embedding where is_stale").fetchone() == (0,)


@pytest.fixture
def outdated(database: Database) -> RegisteredEncoder:
    """Three patients share a text that waits in the queue and that nobody's record gives any more."""
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), "SNOMED/same") for p in (1, 2, 3)])
        encoder = add_encoder(connection)
        connection.execute("select ehrdb.plan_refresh()")
        connection.execute("alter table ehrdb.concept_text disable trigger mark_updated")
        connection.execute("update ehrdb.concept set description = 'other words'")
    return encoder


def test_everybody_who_shares_a_text_that_changed_in_the_queue_is_marked_at_once(
    database: Database, outdated: RegisteredEncoder
) -> None:
    assert Queue(database, outdated, "worker").claim(10) == []
    assert marked(database) == {1, 2, 3}


def test_everybody_whose_shared_text_changed_in_the_queue_is_embedded(
    database: Database, outdated: RegisteredEncoder
) -> None:
    assert refresh(database, outdated, FakeEncoder).embedded == 1
    with database.transaction() as connection:
        assert connection.execute("select count(*) from ehrdb.patient_embedding").fetchone() == (3,)


def test_a_text_that_never_holds_still_ends_the_run_with_a_fault(
    database: Database, encoder: RegisteredEncoder
) -> None:
    with database.transaction() as connection:
        write(connection, [Record(1, day(28), "SNOMED/late")])

    def load() -> FakeEncoder:
        change(database, "update ehrdb.concept set description = description || '!' where code = 'SNOMED/late'")
        return FakeEncoder()

    result = refresh(database, encoder, load)
    assert (result.embedded, result.outdated, result.exit_code) == (0, 1, 1)
    assert refresh(database, encoder, FakeEncoder).embedded == 1


def test_a_change_of_words_takes_past_answers_away_until_they_are_embedded(
    database: Database, encoder: RegisteredEncoder
) -> None:
    change(database, "update ehrdb.concept set description = 'other words' where code = 'LOINC/x'")
    question = (
        "select reason from ehr.embeddings_at(array[1, 3], array['2020-01-02 08:00', '2020-01-01 08:00']::timestamp[])"
    )
    with database.transaction() as connection:
        assert connection.execute(question).fetchall() == [("not embedded as of then",), (None,)]
        encoder = registry.find(connection, None)
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        assert connection.execute(question).fetchall() == [(None,), (None,)]
