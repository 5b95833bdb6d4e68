"""A later event, load, refresh or vocabulary never changes an earlier answer of any function that takes a moment.

EHRDB_PROMISE_EXAMPLES says how many records are tried; a few by default, 10,000 in a slow run. What such a run costs is
planning, of questions about four patients: so all are one statement, and plans are kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehrdb.database import Connection, Database
from ehrdb.embedding import IndexDates, Snapshot, refresh
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.events import load_ehrshot
from ehrdb.testing import FakeEncoder
from tests.house.test_moments import QUESTIONS, add_head
from tests.records import Record, add_encoder, write

EXAMPLES = int(os.environ.get("EHRDB_PROMISE_EXAMPLES", "20"))
THEN = datetime(2020, 3, 15, 12)
PATIENTS = (1, 2, 3, 4)
# What came afterwards is what these two ask for.
ABOUT_LATER = {"ehr.nearest_outcomes(", "ehr.nearest_outcomes_at("}
ASKED = {function: question for function, question in QUESTIONS.items() if function not in ABOUT_LATER}


class InOneTransaction(Database):
    """A database all of whose transactions are parts of one, which can be undone."""

    def __init__(self, connection: Connection, url: str) -> None:
        super().__init__(url)
        self._connection = connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self._connection.transaction():
            yield self._connection
        self._connection.execute("discard temp")  # tables that end with their transaction


days = st.integers(0, 420)
codes = st.integers(1, 8)
early_events = st.lists(st.tuples(st.sampled_from(PATIENTS), days, codes), min_size=4, max_size=16)
later = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.integers(1, 7), days, codes),
        st.tuples(st.just("visit"), st.integers(1, 7), days, codes),
        st.tuples(st.just("label"), st.integers(1, 7), days, codes),
        st.tuples(st.just("vocabulary"), st.just(0), days, codes),
        st.tuples(st.just("refresh"), st.just(0), days, codes),
        st.tuples(st.just("snapshot"), st.just(0), st.integers(-200, 420), codes),
        st.tuples(st.just("index date"), st.sampled_from(PATIENTS), st.integers(-200, 420), codes),
        st.tuples(st.just("repair"), st.just(0), days, codes),
    ),
    min_size=1,
    max_size=8,
)
# All questions as one: of each, its rows as text, in their order.
ROWS = "(select string_agg(q::text, ' ') from ({asked}) q)"
AT_ONCE = f"select {', '.join(ROWS.format(asked=asked) for asked in ASKED.values())}"


def answers(connection: Connection, moment: datetime = THEN) -> dict[str, str | None]:
    """What every function says as of a moment: its rows, or its error."""
    try:
        with connection.transaction():
            row = connection.execute(AT_ONCE.encode(), {"as_of": moment}).fetchone()
    except psycopg.Error:
        return {function: answer(connection, asked, moment) for function, asked in ASKED.items()}
    assert row is not None
    return dict(zip(ASKED, row, strict=True))


def answer(connection: Connection, asked: str, moment: datetime) -> str:
    """One function's rows, or its error."""
    try:
        with connection.transaction():
            return str(connection.execute(asked.encode(), {"as_of": moment}).fetchall())
    except psycopg.Error as error:
        return f"error {error.sqlstate}"


def errors(found: Mapping[str, str | None]) -> list[str]:
    """Functions that did not answer."""
    return [function for function, said in found.items() if said and said.startswith("error ")]


def happen(database: Database, encoder: RegisteredEncoder, what: str, patient: int, day: int, code: int) -> None:
    """Something that is later than THEN, or is about no record."""
    moment = THEN + timedelta(days=day, microseconds=1)
    if what in ("refresh", "snapshot", "index date"):
        snapshot = Snapshot(moment) if what == "snapshot" else None
        dates = IndexDates([patient], [moment]) if what == "index date" else None
        refresh(database, encoder, FakeEncoder, snapshot=snapshot, index_dates=dates)
        return
    with database.transaction() as connection:
        if what == "event":
            write(connection, [Record(patient, moment, f"SNOMED/{code}", float(day))])
        elif what == "visit":
            write(connection, [Record(patient, moment, "Visit/IP")])
            connection.execute("update ehrdb.event set visit_class = 'inpatient' where time = %s", [moment])
        elif what == "label":
            connection.execute("insert into ehrdb.label values ('sepsis', %s, %s, 1)", [patient, moment])
        elif what == "vocabulary":
            add_vocabulary(connection, code, day)
        else:
            connection.execute("select ehrdb.repair()")


def add_vocabulary(connection: Connection, code: int, number: int) -> None:
    """Concepts that no record has yet, below others."""
    connection.execute(
        "insert into ehrdb.concept (code, vocabulary, description) values (%s, 'SNOMED', 'new') on conflict do nothing",
        [f"SNOMED/new{number}"],
    )
    connection.execute(
        "insert into ehrdb.concept_parent (child_id, parent_id)"
        " select c.code_id, p.code_id from ehrdb.concept c, ehrdb.concept p where c.code = %s and p.code = %s"
        " on conflict do nothing",
        [f"SNOMED/new{number}", f"SNOMED/{code}"],
    )


def embed(database: Database, encoder: RegisteredEncoder) -> None:
    refresh(database, encoder, FakeEncoder, snapshot=Snapshot(THEN))


@pytest.fixture
def begun(database: Database) -> tuple[Database, RegisteredEncoder]:
    """Four patients of one event each, an encoder and a head: what all examples have in common."""
    with database.transaction() as connection:
        write(connection, [Record(p, THEN - timedelta(days=500), f"SNOMED/first{p}") for p in PATIENTS])
        encoder = add_encoder(connection)
        add_head(connection)
    return database, encoder


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(early_events, later)
def test_what_is_later_never_changes_an_earlier_answer(
    begun: tuple[Database, RegisteredEncoder], early: Any, changes: Any
) -> None:
    """Asked once all has happened: whatever comes last here comes first, or between, in other examples."""
    database, encoder = begun
    with database.transaction() as connection:
        connection.execute("set local plan_cache_mode = force_generic_plan")
        connection.prepare_threshold = 0
        one = InOneTransaction(connection, database.url)
        write(connection, [Record(p, THEN - timedelta(days=d), f"SNOMED/{c}") for p, d, c in early])
        embed(one, encoder)
        before = answers(connection)
        assert errors(before) == []
        for change in changes:
            happen(one, encoder, *change)
        after = answers(connection)
        changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
        assert not changed, changes
        connection.rollback()


LINES = ("{p},2019-0{p}-11 00:00:00,,SNOMED/{p},,,,x", "{p},2020-02-01 00:00:00,,LOINC/1,{p}.5,g/dL,,x")
LATER_LINES = ("{p},2021-02-01 00:00:00,,LOINC/1,9.5,g/dL,,x", "{p},2021-03-01 00:00:00,,SNOMED/9,,,,x")


def files(folder: Path, lines: Mapping[int, tuple[str, ...]], concepts: str) -> Path:
    folder.mkdir(exist_ok=True)
    header = "patient_id,start,end,code,value,unit,visit_id,omop_table\n"
    rows = [line.format(p=patient) for patient, each in lines.items() for line in each]
    (folder / "ehrshot.csv").write_text(header + "\n".join(rows) + "\n")
    (folder / "concept.csv").write_text("code,description\n" + concepts)
    return folder


def test_a_later_load_with_new_patients_and_words_changes_no_earlier_answer(database: Database, tmp_path: Path) -> None:
    words = "".join(f"SNOMED/{n},text {n}\n" for n in PATIENTS) + "LOINC/1,Hemoglobin\n"
    load_ehrshot(database, files(tmp_path / "files", dict.fromkeys(PATIENTS, LINES), words))
    with database.transaction() as connection:
        encoder = add_encoder(connection)
        add_head(connection)
    embed(database, encoder)
    with database.transaction() as connection:
        before = answers(connection)
    assert errors(before) == []
    lines = dict.fromkeys(PATIENTS, LINES + LATER_LINES) | dict.fromkeys((7, 8), LATER_LINES)
    load_ehrshot(database, files(tmp_path / "files", lines, f"{words}SNOMED/9,text 9\nSNOMED/77,new\n"))
    for _ in range(2):  # waiting for a refresh, and after it
        with database.transaction() as connection:
            after = answers(connection)
        assert {name for name, answer in after.items() if answer != before[name]} == set()
        embed(database, encoder)


def test_every_function_with_a_moment_is_asked_here(connection: Connection) -> None:
    rows = connection.execute(
        "select distinct oid::regprocedure::text from pg_proc where pronamespace = 'ehr'::regnamespace"
        " and pg_get_function_identity_arguments(oid) ~ '(?<!OUT )\\m\\w*(as_of|moments)'"
    ).fetchall()
    assert rows
    for (signature,) in rows:
        assert any(signature.startswith(start) for start in (*ASKED, *ABOUT_LATER)), signature
