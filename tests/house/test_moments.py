"""Every public function that takes a moment knows what happened by then: at it, not a microsecond after it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg
import pytest

from ehrdb.database import Connection, Database
from ehrdb.embedding import refresh
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, write

FIRST = datetime(2020, 1, 5, 8)
MOMENT = datetime(2020, 1, 10, 12, 34, 56, 789_012)
MICROSECOND = timedelta(microseconds=1)
PATIENTS = range(1, 5)
# One question to each function, by how its signature begins, about records with an event at FIRST and one at MOMENT.
QUESTIONS = {
    "ehr.timeline(": "select ehr.timeline(1, %(as_of)s)",
    "ehr.timelines(": "select text from ehr.timelines(array[1, 2], array[%(as_of)s, %(as_of)s]::timestamp[])",
    "ehr.embedding(": "select ehr.embedding(1, %(as_of)s)",
    "ehr.nearest_patients(bigint,": "select * from ehr.nearest_patients(1, 3, as_of => %(as_of)s)",
    "ehr.nearest_outcomes(": "select * from ehr.nearest_outcomes(1, 'SNOMED/late', %(as_of)s, '30 days', 3)",
    "ehr.explain_similarity(": "select * from ehr.explain_similarity(1, 2, %(as_of)s)",
    "ehr.similarity_by_part(": "select part, similarity from ehr.similarity_by_part(1, 2, %(as_of)s)",
    "ehr.match_cohort(": "select * from ehr.match_cohort(array[1], as_of => %(as_of)s)",
    "ehr.cohort_balance(": "select * from ehr.cohort_balance(array[1, 2], array[3, 4], %(as_of)s)",
    "ehr.predict(": "select ehr.predict('sepsis', 1, %(as_of)s)",
    "ehr.predict_cohort(text,": "select patient_id, probability, known_until, is_stale, reason"
    " from ehr.predict_cohort('sepsis', array[1, 2], %(as_of)s) order by 1",
    "ehr.risk_reasons(": "select kind, name, lines, effect from ehr.risk_reasons('sepsis', 1, %(as_of)s)",
    "ehr.survival(": "select * from ehr.survival('sepsis', array[1, 2], %(as_of)s)",
    "ehr.predict_cohort(text[],": "select * from ehr.predict_cohort(array['sepsis'], array[1], %(as_of)s)",
}
# Of pairs, what is answered and not what was asked.
PAIRS = {
    "ehr.embeddings_at(": "select embedding::text, reason from ehr.embeddings_at({these})",
    "ehr.predict_at(text,": "select probability, reason from ehr.predict_at('sepsis', {these})",
    "ehr.predict_at(text[],": "select probability, reason from ehr.predict_at(array['sepsis'], {these})",
    "ehr.survival_at(": "select survival, reason from ehr.survival_at('sepsis', {these})",
    "ehr.similarity_at(": "select similarity, reason from ehr.similarity_at({these}, {those})",
    "ehr.nearest_at(": "select neighbour_id, similarity, reason from ehr.nearest_at({these}, 3, {those})",
    "ehr.explain_similarity_at(": "select code, value_a, reason from ehr.explain_similarity_at({these}, {those})",
    "ehr.match_cohort_at(": "select control_id, similarity, reason from ehr.match_cohort_at({these}, {those})",
    "ehr.cohort_balance_at(": "select * from ehr.cohort_balance_at({these}, {those})",
    "ehr.nearest_outcomes_at(": "select group_name, with_outcome, reason"
    " from ehr.nearest_outcomes_at({these}, 'SNOMED/late', '30 days', 3, {those})",
    "ehr.risk_history(": "select probability, events, last_event, reason"
    " from ehr.risk_history('sepsis', 1, array[%(as_of)s]::timestamp[])",
}
_MOMENTS = "array[%(as_of)s, %(as_of)s]::timestamp[]"
_LISTS = {"these": f"array[1, 2], {_MOMENTS}", "those": f"array[3, 4], {_MOMENTS}"}
QUESTIONS |= {function: question.format(**_LISTS) for function, question in PAIRS.items()}
Answer = list[tuple[object, ...]]


@pytest.fixture
def record(database: Database) -> Database:
    """Four patients embedded as of FIRST and as of MOMENT, and a head that tells those vectors apart."""
    with database.transaction() as connection:
        write(connection, [Record(p, FIRST, f"SNOMED/{p}") for p in PATIENTS])
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        write(connection, [Record(p, MOMENT, "SNOMED/late", float(p)) for p in PATIENTS])
        add_head(connection)
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        connection.execute(
            "insert into ehrdb.risk_reason (head_id, patient_id, content_sha256, as_of, most_lines, reasons)"
            ' select h.head_id, p.patient_id, p.content_sha256, p.as_of, 9, \'{"parts": [{"kind": "line",'
            '        "name": null, "lines": [1], "probability": 0.1, "log_odds": 1}]}\''
            "   from ehrdb.embedding_point p join ehrdb.head h using (encoder_id, prompt_id) where h.target = 'sepsis'"
        )
    return database


def add_head(connection: Connection) -> None:
    connection.execute("insert into ehrdb.task values ('sepsis', 'site', 'binary', '', '{\"shape\": \"imported\"}')")
    connection.execute(
        "insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance)"
        " select 'sepsis', target, encoder_id, prompt_id, '[1, 2, 3, 4, 5, 6, 7, 8]', 0, '{}'"
        "   from ehrdb.encoder, unnest(array['sepsis', 'sepsis_day_30']) target"
    )


def ask(database: Database, function: str, moments: Sequence[datetime]) -> list[Answer]:
    """What the function answers as of each moment."""
    with database.transaction() as connection:
        return [connection.execute(QUESTIONS[function].encode(), {"as_of": moment}).fetchall() for moment in moments]


@pytest.mark.parametrize("function", QUESTIONS)
def test_what_happens_at_the_moment_is_known_and_not_a_microsecond_earlier(record: Database, function: str) -> None:
    first, before, at, after = ask(record, function, [FIRST, MOMENT - MICROSECOND, MOMENT, MOMENT + MICROSECOND])
    assert before
    assert before == first
    assert at != before
    assert after == at


LATER = MOMENT + timedelta(days=1)


@pytest.fixture
def gone_on(record: Database) -> Database:
    """The records go on at LATER, and nothing is embedded as of then."""
    with record.transaction() as connection:
        write(connection, [Record(p, LATER, "SNOMED/later") for p in PATIENTS])
    return record


def test_a_vector_answers_up_to_the_next_event_and_a_cohort_says_so(gone_on: Database) -> None:
    before, at, after = ask(gone_on, "ehr.predict_cohort(text,", [LATER - MICROSECOND, LATER, LATER + MICROSECOND])
    assert [(row[1] is not None, row[-1]) for row in before] == [(True, None)] * 2
    assert at == after
    assert [row[1:] for row in at] == [(None, None, True, "not embedded as of then")] * 2


@pytest.mark.parametrize("function", ["ehr.embedding(", "ehr.predict(", "ehr.nearest_patients(bigint,"])
def test_a_vector_answers_up_to_the_next_event_and_not_at_it(gone_on: Database, function: str) -> None:
    assert ask(gone_on, function, [LATER - MICROSECOND]) == ask(gone_on, function, [MOMENT])
    for moment in (LATER, LATER + MICROSECOND):
        with pytest.raises(psycopg.Error) as caught:
            ask(gone_on, function, [moment])
        assert caught.value.sqlstate == "EH004"


def test_every_function_with_a_moment_is_asked(connection: Connection) -> None:
    rows = connection.execute(
        "select oid::regprocedure::text from pg_proc where pronamespace = 'ehr'::regnamespace"
        " and pg_get_function_identity_arguments(oid) ~ '(?<!OUT )\\m\\w*(as_of|moments)'"
    ).fetchall()
    found = {signature: [start for start in QUESTIONS if signature.startswith(start)] for (signature,) in rows}
    assert {signature for signature, starts in found.items() if not starts} == set()
    assert {start for starts in found.values() for start in starts} == set(QUESTIONS)
