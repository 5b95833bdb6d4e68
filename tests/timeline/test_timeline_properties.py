"""What must hold for any record: no leakage, no dependence on plans or storage, kept columns that are right."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehrdb.database import Connection

CODES = ["SNOMED/3950001", "Race/5", "LOINC/8867-4", "LOINC/718-7", "RxNorm/1", "CPT4/2", "Visit/IP", "Visit/OP"]
FORMATS = [
    "list_recent",
    "list_recent_time",
    "list_first",
    "list_first_time",
    "list_recent_no_labs",
    "list_graded",
    "markdown",
]
START = datetime(2020, 1, 1)


class Event(NamedTuple):
    minute: int
    code: str
    value: float | None
    text: str | None
    visit: str | None

    @property
    def time(self) -> datetime:
        return START + timedelta(minutes=self.minute)


events = st.builds(
    Event,
    st.integers(0, 12),
    st.sampled_from(CODES),
    st.none() | st.floats(0, 300, width=16),
    st.none() | st.sampled_from(["positive", "a\nb", "x" * 300]),
    st.none() | st.sampled_from(["v1", "v2"]),
)
records = st.lists(events, max_size=25).map(lambda record: sorted(record, key=lambda event: event.minute))
any_record = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@pytest.fixture
def vocabulary(connection: Connection) -> Connection:
    """A connection to a database that knows the codes."""
    for code in CODES:
        connection.execute(
            "insert into ehrdb.concept (code, vocabulary, description) values (%s, split_part(%s, '/', 1), %s)",
            [code, code, f"text of {code}"],
        )
    return connection


@any_record
@given(records, st.lists(events, max_size=8), st.integers(-1, 13), st.sampled_from([None, 3]))
def test_later_events_never_change_an_earlier_text(
    vocabulary: Connection, record: list[Event], later: list[Event], minute: int, window: int | None
) -> None:
    later = [event for event in later if event.minute > minute]
    with vocabulary.transaction(force_rollback=True):
        write(vocabulary, 1, [event for event in record if event.minute <= minute])
        write(vocabulary, 2, sorted(record + later, key=lambda event: event.minute))
        for format_name in FORMATS:
            known, more = texts(vocabulary, format_name, [START + timedelta(minutes=minute)] * 2, window)
            assert known == more


# Ten records side by side, each twice: what costs here are statements, not patients.
@settings(any_record, max_examples=6)
@given(st.lists(st.tuples(records, st.randoms(use_true_random=False), st.integers(0, 13)), min_size=10, max_size=10))
def test_neither_the_order_on_disk_nor_the_plan_changes_a_text(
    vocabulary: Connection, examples: list[tuple[list[Event], Random, int]]
) -> None:
    moments = [START + timedelta(minutes=minute) for *_, minute in examples for _ in range(2)]
    with vocabulary.transaction(force_rollback=True):
        for patient_id, (record, random, _) in zip(range(1, 20, 2), examples, strict=True):
            write(vocabulary, patient_id, record)
            for ordinal, event in random.sample(list(enumerate(record)), len(record)):
                write(vocabulary, patient_id + 1, [event], first=ordinal)
        for format_name in FORMATS:
            plain = texts(vocabulary, format_name, moments)
            assert plain[::2] == plain[1::2]
            with vocabulary.transaction(force_rollback=True):
                for change in PLANS:
                    vocabulary.execute(change.encode())
                    assert texts(vocabulary, format_name, moments) == plain


# One after the other: parallel plans first, then every way to join or read but the last is forbidden.
# One worker beside the leader makes a plan parallel; to start each takes longer than the rows that it reads, so tables
# are read whole side by side where they are joined by hash or merge, and alone where each row of one would start it.
PLANS = [
    "set local parallel_setup_cost = 0; set local parallel_tuple_cost = 0;"
    "set local max_parallel_workers_per_gather = 1;"
    "set local min_parallel_table_scan_size = 0; set local min_parallel_index_scan_size = 0",
    "set local enable_indexonlyscan = off",
    "set local enable_indexscan = off",
    "set local enable_bitmapscan = off; set local enable_nestloop = off",
    "set local max_parallel_workers_per_gather = 0; set local enable_nestloop = on;"
    "set local enable_hashjoin = off; set local enable_hashagg = off",
    "set local enable_mergejoin = off",
]


@any_record
@given(records, st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["delete", "move", "recode"])), max_size=4))
def test_validity_is_kept_whatever_is_written(
    vocabulary: Connection, record: list[Event], changes: list[tuple[int, str]]
) -> None:
    statements = {
        "delete": "delete from ehrdb.event where ordinal = %s",
        "move": "update ehrdb.event set patient_id = 3 - patient_id, ordinal = ordinal + 1000 where ordinal = %s",
        "recode": "update ehrdb.event set code_id = (select min(code_id) from ehrdb.event) where ordinal = %s",
    }
    with vocabulary.transaction(force_rollback=True):
        write(vocabulary, 1, record)
        for ordinal, change in changes:
            vocabulary.execute(statements[change].encode(), [ordinal])
        wrong = vocabulary.execute(
            "select patient_id, ordinal from (select *, lag(time, 1, 'infinity') over"
            " (partition by patient_id, code_id order by time desc, ordinal) as wanted from ehrdb.event) e"
            " where valid_to is distinct from wanted"
        ).fetchall()
        assert wrong == []


@any_record
@given(records)
def test_the_latest_event_of_each_code_is_valid_to_infinity(vocabulary: Connection, record: list[Event]) -> None:
    with vocabulary.transaction(force_rollback=True):
        write(vocabulary, 1, record)
        rows = vocabulary.execute(
            "select c.code, e.ordinal from ehrdb.event e join ehrdb.concept c using (code_id)"
            " where e.valid_to = 'infinity'"
        ).fetchall()
    latest: dict[str, tuple[int, int]] = {}
    for ordinal, event in enumerate(record):
        if event.minute > latest.get(event.code, (-1, 0))[0]:
            latest[event.code] = (event.minute, ordinal)
    assert sorted(rows) == sorted((code, ordinal) for code, (_, ordinal) in latest.items())


def write(connection: Connection, patient_id: int, record: list[Event], first: int = 0) -> None:
    connection.execute(
        "insert into ehrdb.patient (patient_id, source, fingerprint) values (%s, 'test', '') on conflict do nothing",
        [patient_id],
    )
    connection.execute(
        "insert into ehrdb.event (patient_id, ordinal, time, code_id, numeric_value, text_value, visit_id)"
        " select %s, %s + i - 1, time, c.code_id, value, case when value is null then text end, visit"
        "   from unnest(%s::timestamp[], %s::text[], %s::real[], %s::text[], %s::text[]) with ordinality"
        "        as e (time, code, value, text, visit, i) join ehrdb.concept c using (code)",
        [
            patient_id,
            first,
            [event.time for event in record],
            [event.code for event in record],
            [event.value for event in record],
            [event.text for event in record],
            [event.visit for event in record],
        ],
    )


def texts(connection: Connection, format_name: str, moments: list[datetime], window: int | None = None) -> list[str]:
    """Texts of patients 1 and on, each as of their moment."""
    rows = connection.execute(
        "select text from ehr.timelines(%s, %s::timestamp[], %s, make_interval(mins => %s)) order by position",
        [list(range(1, len(moments) + 1)), moments, format_name, window],
    )
    return [text for (text,) in rows]
