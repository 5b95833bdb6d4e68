"""How a risk developed: after every visit, from what was known then."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from ehrdb.database import Database
from ehrdb.embedding import index_dates, refresh
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, add_head, day, write

# Start, end and id of patient 1's visits; the last has no end.
VISITS = [(day(1), day(4), "v1"), (day(10), day(10), None), (day(20), None, "v3")]
HISTORY = "select as_of, probability, events, last_event, known_until, reason from ehr.risk_history('death', 1)"
AFTER = [day(4), day(10), day(22)]


@pytest.fixture
def encoder(database: Database) -> RegisteredEncoder:
    """A patient with three visits, results in and between them, and a head; embedded as of now."""
    with database.transaction() as connection:
        for start, end, visit in VISITS:
            write(connection, [Record(1, start, "Visit/IP")])
            connection.execute(
                "update ehrdb.event set visit_class = 'inpatient', end_time = %s, visit_id = %s"
                " where patient_id = 1 and time = %s",
                [end, visit, start],
            )
        write(connection, [Record(1, day(d), f"LOINC/{d}", value=float(d)) for d in (2, 6, 15, 22)])
        connection.execute("update ehrdb.event set visit_id = 'v3' where time = %s", [day(22)])
        connection.execute(
            "insert into ehrdb.task values ('death', 'own', 'binary', 'a task', '{\"shape\": \"imported\"}')"
        )
        found = add_encoder(connection)
        add_head(connection, "death", found)
    refresh(database, found, FakeEncoder)
    return found


def ask(database: Database, question: str = HISTORY) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute(question.encode()).fetchall()


def embed(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        dates = index_dates.resolve(connection, "select 1, as_of from ehr.risk_history('death', 1)")
    refresh(database, encoder, FakeEncoder, index_dates=dates)


def test_after_every_visit_there_is_a_row_with_what_was_known(database: Database, encoder: RegisteredEncoder) -> None:
    embed(database, encoder)
    found = ask(database)
    assert [(row[0], row[2], row[3], row[5]) for row in found] == [
        (day(4), 2, day(2), None),
        (day(10), 4, day(10), None),
        (day(22), 7, day(22), None),
    ]
    alone = [ask(database, f"select ehr.predict('death', 1, '{moment}')")[0][0] for moment in AFTER]
    assert [row[1] for row in found] == alone
    assert len(set(alone)) == 3


def test_what_is_not_embedded_has_a_reason_and_its_row(database: Database, encoder: RegisteredEncoder) -> None:
    found = ask(database)
    assert [row[0] for row in found] == AFTER
    assert [(row[1] is None, row[5]) for row in found] == [(True, "not embedded as of then")] * 2 + [(False, None)]


def test_moments_may_be_given_in_any_order(database: Database, encoder: RegisteredEncoder) -> None:
    embed(database, encoder)
    question = (
        "select as_of, events, reason from ehr.risk_history('death', 1,"
        " array['2020-01-05', '2019-01-01', '2020-01-05']::timestamp[])"
    )
    assert ask(database, question) == [(datetime(2019, 1, 1), 0, "no record by then"), (day(5, 0), 2, None)]


def test_a_later_visit_changes_no_earlier_row(database: Database, encoder: RegisteredEncoder) -> None:
    embed(database, encoder)
    before = ask(database)
    with database.transaction() as connection:
        write(connection, [Record(1, day(28), "Visit/IP")])
        connection.execute("update ehrdb.event set visit_class = 'inpatient' where time = %s", [day(28)])
    assert ask(database)[:3] == before
    refresh(database, encoder, FakeEncoder)
    assert ask(database)[:3] == before


def test_the_head_says_when_it_was_trained(database: Database, encoder: RegisteredEncoder) -> None:
    trained = ask(database, "select trained_at from ehr.head")
    assert ask(database, "select distinct head_trained_at from ehr.risk_history('death', 1)") == trained


def test_who_has_no_visit_has_no_row(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        write(connection, [Record(2, day(2), "LOINC/2")])
    assert ask(database, "select * from ehr.risk_history('death', 2)") == []
