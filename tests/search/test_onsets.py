"""How rare a concept was by a past day: nothing that comes later changes an explanation of then."""

from __future__ import annotations

from datetime import datetime
from math import log
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehrdb.database import Connection, Database
from ehrdb.embedding import repair
from tests.records import Record, write

THEN = datetime(2021, 3, 15)
EARLY, LATE = datetime(2020, 5, 1), datetime(2022, 1, 1)


def explain(connection: Connection, moment: object = THEN) -> dict[str, float]:
    return dict(connection.execute("select code, weight from ehr.explain_similarity(1, 2, %s)", [moment]).fetchall())


@pytest.fixture
def record(database: Database) -> Database:
    """By THEN two patients of four have one concept, and all have the other."""
    with database.transaction() as connection:
        write(connection, [Record(p, EARLY, "SNOMED/common") for p in (1, 2, 3, 4)])
        write(connection, [Record(p, EARLY, "SNOMED/rare") for p in (1, 2)])
    return database


def test_it_is_counted_up_to_the_month_before(record: Database) -> None:
    with record.transaction() as connection:
        assert explain(connection) == {"SNOMED/rare": pytest.approx(log(3)), "SNOMED/common": pytest.approx(log(2))}
        write(connection, [Record(3, datetime(2021, 3, 1), "SNOMED/rare")])  # of the moment's own month: not yet
        assert explain(connection)["SNOMED/rare"] == pytest.approx(log(3))
        write(connection, [Record(4, datetime(2021, 2, 28, 23, 59), "SNOMED/rare")])
        assert explain(connection)["SNOMED/rare"] == pytest.approx(log(1 + 4 / 3))


def test_later_events_patients_and_refreshes_change_no_earlier_explanation(record: Database) -> None:
    with record.transaction() as connection:
        before = explain(connection)
        write(connection, [Record(p, LATE, "SNOMED/rare") for p in range(1, 40)])
        assert explain(connection) == before
        connection.execute("select ehrdb.plan_refresh()")
        assert explain(connection) == before
        assert explain(connection, "infinity") != before


def test_two_moments_are_explained_as_of_the_later(record: Database) -> None:
    question = (
        "select code, weight from ehr.explain_similarity_at(array[1], array[%s]::timestamp[],"
        " array[2], array[%s]::timestamp[])"
    )
    with record.transaction() as connection:
        write(connection, [Record(p, datetime(2021, 1, 1), "SNOMED/rare") for p in (3, 4)])
        assert dict(connection.execute(question, [datetime(2020, 12, 1), THEN]).fetchall()) == explain(connection)


def counted(connection: Connection) -> tuple[list[Any], list[Any]]:
    """Kept, and counted from the events."""
    kept = connection.execute(
        "select code_id, month::text, sum(patients)::integer from (table ehrdb.concept_onset union all"
        " table ehrdb.concept_onset_change) o group by 1, 2 having sum(patients) <> 0 order by 1, 2"
    ).fetchall()
    events = connection.execute(
        "select code_id, month::text, count(*)::integer from (select code_id, patient_id,"
        " date_trunc('month', min(time))::date as month from ehrdb.event group by 1, 2) f group by 1, 2 order by 1, 2"
    ).fetchall()
    return kept, events


def known(connection: Connection) -> tuple[list[Any], list[Any]]:
    kept = connection.execute("select patient_id, known_since::text from ehrdb.patient order by 1").fetchall()
    events = connection.execute(
        "select patient_id, (select min(time)::text from ehrdb.event e where e.patient_id = p.patient_id)"
        "  from ehrdb.patient p order by 1"
    ).fetchall()
    return kept, events


MONTHS = st.integers(0, 40)
CHANGES = st.lists(
    st.tuples(st.sampled_from(("write", "move", "delete", "plan")), st.integers(1, 4), st.integers(1, 3), MONTHS),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
def test_what_is_kept_by_difference_is_what_the_events_say(database: Database, changes: Any) -> None:
    with database.transaction() as connection:
        for what, patient, code, month in changes:
            moment = datetime(2018 + month // 12, 1 + month % 12, 1 + month % 5)
            if what == "write":
                write(connection, [Record(patient, moment, f"SNOMED/{code}")])
            elif what == "move":
                connection.execute("update ehrdb.event set time = %s where patient_id = %s", [moment, patient])
            elif what == "delete":
                connection.execute(
                    "delete from ehrdb.event e using ehrdb.concept c where c.code_id = e.code_id"
                    " and e.patient_id = %s and c.code = %s",
                    [patient, f"SNOMED/{code}"],
                )
            else:
                connection.execute("select ehrdb.plan_refresh()")
            for kept, events in (counted(connection), known(connection)):
                assert kept == events
        connection.rollback()


def test_a_purge_leaves_no_month_of_who_is_gone(record: Database) -> None:
    with record.transaction() as connection:
        write(connection, [Record(5, datetime(1987, 6, 5), "SNOMED/telling")])
        connection.execute("select ehrdb.plan_refresh()")
        connection.execute("select ehrdb.purge_patients(array[5])")
        question = "select count(*) from (table ehrdb.concept_onset union all table ehrdb.concept_onset_change) o"
        rows = connection.execute(f"{question} where month < '2000-01-01'".encode()).fetchone()
        assert rows == (0,)


def test_a_repair_puts_right_what_was_changed_behind_its_back(record: Database) -> None:
    with record.transaction() as connection:
        connection.execute("select ehrdb.plan_refresh()")
        before = explain(connection)
        connection.execute("update ehrdb.concept_onset set patients = patients + 3")
        connection.execute("update ehrdb.patient set known_since = null where patient_id = 4")
        assert explain(connection) != before
    assert repair(record).wrong_frequencies == 3
    assert repair(record).is_clean
    with record.transaction() as connection:
        assert explain(connection) == before
