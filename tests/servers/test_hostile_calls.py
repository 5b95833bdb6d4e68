"""Every function of schema ehr, called as nobody should: an error of ours with a hint, or a documented answer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product

import psycopg
import pytest

from ehrdb.database import Connection, Database
from ehrdb.embedding import Snapshot, refresh
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, add_head, day, write, write_patients

# By type: what is sane, and what is not.
VALUES = {
    "bigint": (["1", "2"], ["null", "-1", "0", "9223372036854775807", "404"]),
    "integer": (["3"], ["null", "-1", "0", "2147483647", "'-2147483648'"]),
    "double precision": (["0.5"], ["null", "-1", "0", "1e308", "'NaN'", "'Infinity'", "'-Infinity'"]),
    "boolean": (["true"], ["null", "false"]),
    "text": (
        ["'fake'", "'death'", "'list_recent'", "'SNOMED/10'", "'markdown'"],
        ["null", "''", "'[/x]'", "'x; drop'", "repeat('x', 100000)", "'list_recent_only_x'"],
    ),
    "text[]": (["array['death']"], ["null", "'{}'", "array[null]::text[]", "array['death', null]", "array['x']"]),
    "interval": (["'30 days'"], ["null", "'-1 year'", "'0'", "'1000000 years'", "'-1000000 years'", "'1 microsecond'"]),
    "timestamp without time zone": (
        ["'2020-01-12 08:00'", "'infinity'"],
        ["null", "'-infinity'", "'0001-01-01'", "'4713-01-01 BC'", "'294276-12-31'", "'9999-12-31'", "'1900-01-01'"],
    ),
    "timestamp without time zone[]": (
        ["array['2020-01-12 08:00']::timestamp[]"],
        ["null", "'{}'", "array[null]::timestamp[]", "array['294276-12-31']::timestamp[]", "'{infinity,-infinity}'"],
    ),
    "bigint[]": (
        ["array[1, 2, 3]", "array[4]"],
        [
            "null",
            "'{}'",
            "array[null]::bigint[]",
            "array[1, null]",
            "array[404]",
            "'{{1,2},{3,4}}'",
            "array[1, 1]",
        ],
    ),
    "vector": (
        ["'[1,0,0,0,0,0,0,1]'"],
        ["null", "'[0,0,0,0,0,0,0,0]'", "'[1,2]'", "'[3e38,3e38,0,0,0,0,0,0]'", "'[1e-38,0,0,0,0,0,0,0]'"],
    ),
    "regclass": (["'ehr.patient'"], ["null", "'ehr.concept'"]),
    "jsonb": (["'{}'", "null"], ["'[]'", "'null'", "'1'", "'{\"x\": 1}'", '\'{"labs": "y"}\'', "'{\"labs\": 1e400}'"]),
}
# What may have nothing to say, and says so in its documentation.
MAY_BE_EMPTY = {
    "duplicate_patients",
    "match_cohort",
    "timelines",
    "current_timelines",
    "unprotect",
    "explain_similarity",
    "nearest_outcomes",
    "nearest_patients",
    "predict_cohort",
    "search_concepts",
    "patients_by_words",
    "outlying_patients",
    # Nobody is asked about.
    "embeddings_at",
    "predict_at",
    "similarity_at",
    "nearest_at",
    "explain_similarity_at",
    "match_cohort_at",
    "nearest_outcomes_at",
    # No visit.
    "risk_history",
    # Nobody has explained it.
    "risk_reasons",
    # No label but those that were learned from.
    "monitor",
}
# Columns that are null where the documentation says so.
MAY_BE_NULL = {
    *("nearest_outcomes", "cohort_balance", "explain_similarity", "search_recall"),
    *("nearest_outcomes_at", "cohort_balance_at", "explain_similarity_at", "monitor"),
}
CALLS = 2000


@pytest.fixture
def asked(database: Database) -> Database:
    """Six patients with all that can be asked about."""
    with database.transaction() as connection:
        write_patients(connection, 6)
        write(connection, [Record(p, day(25), "SNOMED/late") for p in range(1, 7)])
        connection.execute(
            "insert into ehrdb.task values ('death', 'own', 'binary', 'a task', '{\"shape\": \"imported\"}')"
        )
        connection.execute(
            "insert into ehrdb.label select 'death', p, timestamp '2020-01-20', p % 2 from generate_series(1, 6) p"
        )
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder, snapshot=Snapshot(day(12)))
    with database.transaction() as connection:
        add_head(connection, "death", encoder)
    return database


def functions(connection: Connection) -> list[tuple[str, list[str], int, bool]]:
    """Name, argument types, how many have no default, whether it gives rows."""
    return connection.execute(
        "select proname, array(select format_type(t, null) from unnest(proargtypes) t), pronargs - pronargdefaults,"
        "       proretset"
        "  from pg_proc where pronamespace = 'ehr'::regnamespace and prokind = 'f' order by oid::regprocedure::text"
    ).fetchall()


def calls(connection: Connection) -> Iterator[tuple[str, bool, str]]:
    """Each argument hostile in turn among sane ones, then whatever comes."""
    chance = random.Random(7)
    known = functions(connection)
    number = 0
    for name, types, needed, gives_rows in known:
        for place, count in product(range(len(types)), range(needed, len(types) + 1)):
            if place < count:
                for hostile in VALUES[_plain(types[place])][1]:
                    chosen = [chance.choice(VALUES[_plain(kind)][0]) for kind in types[:count]]
                    chosen[place] = hostile
                    number += 1
                    yield name, gives_rows, _call(name, types, chosen)
    while number < CALLS:
        name, types, needed, gives_rows = chance.choice(known)
        chosen = [
            chance.choice([*VALUES[_plain(kind)][0], *VALUES[_plain(kind)][1]])
            for kind in types[: chance.randint(needed, len(types))]
        ]
        number += 1
        yield name, gives_rows, _call(name, types, chosen)


def _plain(kind: str) -> str:
    return kind.split(".")[-1]


def _call(name: str, types: list[str], chosen: list[str]) -> str:
    arguments = ", ".join(
        f"{value}::{'public.' if kind == 'vector' else ''}{kind}" for value, kind in zip(chosen, types, strict=False)
    )
    return " ".join(["select r::text, to_jsonb(r) from", f"ehr.{name}({arguments})", "r"])


def _is_silent(row: object) -> bool:
    """Whether something is null in a row that gives no reason for it."""
    if not isinstance(row, dict) or row.get("reason"):
        return False
    return any(value is None for column, value in row.items() if column != "reason")


def test_every_kind_of_argument_has_hostile_values(connection: Connection) -> None:
    assert {_plain(kind) for _, types, _, _ in functions(connection) for kind in types} <= set(VALUES)


def test_every_call_gives_an_error_with_a_hint_or_an_answer(asked: Database) -> None:
    wrong: dict[str, str] = {}
    tried = 0
    with asked.transaction() as connection:
        for name, gives_rows, call in calls(connection):
            tried += 1
            try:
                with connection.transaction(force_rollback=True):
                    connection.execute("set local statement_timeout = '60s'")
                    rows = connection.execute(call.encode()).fetchall()
            except psycopg.Error as error:
                if not (error.sqlstate or "").startswith("EH"):
                    wrong[call[:300]] = f"{error.sqlstate} {error.diag.message_primary}"
                elif not error.diag.message_hint:
                    wrong[call[:300]] = f"{error.sqlstate} without a hint"
                continue
            if not rows and name not in MAY_BE_EMPTY:
                wrong[call[:300]] = "nothing"
            if any(row[0] is None for row in rows):
                wrong[call[:300]] = "null"
            if gives_rows and name not in MAY_BE_NULL and any(_is_silent(row[1]) for row in rows):
                wrong[call[:300]] = "a null in a row"
    assert tried >= CALLS
    assert not wrong, f"{len(wrong)} of {tried}: " + "\n".join(f"{why}: {call}" for call, why in wrong.items())
