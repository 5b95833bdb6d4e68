"""A load reads those alone whose rows are others than at the last load, and its result is that of reading all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehrdb.database import Database
from ehrdb.errors import InputError
from ehrdb.events import LoadResult, OmopOptions, load_omop, load_omop_schema
from ehrdb.events.merge import UNREAD_PATIENTS
from ehrdb.events.purge import purge
from tests.events.test_load_omop import events, export, hospital, rows

__all__ = ["hospital"]
ALL = OmopOptions(read_all=True)


def change(database: Database, *statements: str) -> None:
    with database.transaction() as connection:
        for statement in statements:
            connection.execute(statement.encode())


def again(database: Database, options: OmopOptions | None = None) -> LoadResult:
    return load_omop_schema(database, "cdm", "vocab", options)


@pytest.fixture
def loaded(hospital: Database) -> Database:
    """Patients 1 and 2 of the schema, loaded."""
    again(hospital)
    return hospital


def read(result: LoadResult) -> dict[str, int]:
    return {table.source_table: table.rows_read for table in result.tables if " " not in table.source_table}


def test_one_changed_patient_is_read_alone(loaded: Database) -> None:
    change(loaded, "update cdm.visit_occurrence set visit_end_date = '2020-04-09' where person_id = 2")
    result = again(loaded)
    assert (result.changed, result.unchanged, result.unread) == (1, 1, 1)
    assert read(result)["person"] == 1
    assert ("2020-04-09 23:59:00",) in rows(loaded, "select end_time::text from ehrdb.event where patient_id = 2")
    assert not again(loaded, ALL).anything_changed


def test_a_load_after_which_nothing_changed_reads_nobody_and_reports_what_is_there(loaded: Database) -> None:
    first = again(loaded, ALL)
    result = again(loaded)
    assert (result.unread, result.anything_changed) == (2, False)
    assert result.tables == first.tables


def test_who_came_and_who_went_are_noticed(loaded: Database) -> None:
    change(
        loaded,
        "insert into cdm.person select 3, 8507, 1970, 1, 1, null, 0, 0",
        *map("delete from {} where person_id = 2".format, tables_of_patients(loaded)),
    )
    result = again(loaded)
    assert (result.new, result.removed, result.unchanged, result.unread) == (1, 1, 1, 1)
    assert rows(loaded, "select patient_id from ehrdb.patient order by 1") == [(1,), (3,)]


def test_who_was_kept_though_missing_goes_with_a_load_that_keeps_nobody(loaded: Database) -> None:
    change(loaded, *map("delete from {} where person_id = 2".format, tables_of_patients(loaded)))
    for _ in range(2):
        result = again(loaded, OmopOptions(keep_missing=True))
        assert (result.removed, result.unchanged) == (0, 2)
    assert again(loaded).removed == 1


def tables_of_patients(database: Database) -> list[str]:
    found = rows(
        database,
        "select format('cdm.%I', table_name) from information_schema.columns"
        " where table_schema = 'cdm' and column_name = 'person_id'",
    )
    return [name for (name,) in found]


@pytest.mark.parametrize(
    "statement",
    [
        "update vocab.concept set concept_name = 'Diabetes, type 2' where concept_id = 201826",
        "delete from vocab.concept_relationship",
        "insert into ehrdb.icu_care_site values ('CARE_SITE/7')",
    ],
)
def test_a_vocabulary_or_rule_that_changed_concerns_everybody(loaded: Database, statement: str) -> None:
    change(loaded, statement)
    assert again(loaded).unread == 0
    assert again(loaded).unread == 2


def test_other_settings_concern_everybody(loaded: Database) -> None:
    assert again(loaded, OmopOptions(date_only="as_is")).unread == 0


def test_relations_of_codes_that_were_not_read_stay(loaded: Database) -> None:
    before = rows(loaded, "select * from ehrdb.concept_parent")
    change(loaded, "update cdm.person set year_of_birth = 1961, birth_datetime = null where person_id = 2")
    again(loaded)
    assert before
    assert rows(loaded, "select * from ehrdb.concept_parent") == before


def test_a_bad_row_of_a_changed_patient_is_refused_and_of_nobody_too(loaded: Database) -> None:
    change(
        loaded,
        "update cdm.visit_occurrence set visit_start_date = null, visit_start_datetime = null where person_id = 2",
    )
    with pytest.raises(InputError, match="visit_start_date"):
        again(loaded)
    change(
        loaded, "update cdm.visit_occurrence set visit_start_date = '2020-04-01', person_id = null where person_id = 2"
    )
    with pytest.raises(InputError, match="person_id"):
        again(loaded)


def test_a_purged_patient_leaves_no_digest_and_stays_away(loaded: Database) -> None:
    purge(loaded, [2])
    for _ in range(2):
        assert again(loaded).left_out == 1
        assert rows(loaded, "select patient_id from ehrdb.source_patient") == [(1,)]
    assert again(loaded, OmopOptions(allow_return=True)).new == 1


def test_a_report_says_how_many_were_not_read_and_the_next_whole_one_is_compared_with_a_whole_one(
    loaded: Database,
) -> None:
    change(loaded, "update cdm.person set year_of_birth = 1961, birth_datetime = null where person_id = 2")
    again(loaded)
    assert (UNREAD_PATIENTS, 1) in rows(loaded, "select source_table, rows_loaded from ehr.load_report")
    assert again(loaded, ALL).differences == []


def test_files_are_read_likewise(hospital: Database, tmp_path: Path) -> None:
    folder = export(hospital, tmp_path)
    load_omop(hospital, folder)
    visits = folder / "visit_occurrence.csv"
    visits.write_text(visits.read_text().replace("2020-04-02", "2020-04-09"))
    result = load_omop(hospital, folder)
    assert (result.changed, result.unread) == (1, 1)
    assert not load_omop(hospital, folder, ALL).anything_changed


EDITS = (
    "update cdm.visit_occurrence set visit_end_date = date '2020-05-01' + {n} where visit_occurrence_id = {row}",
    "insert into cdm.visit_occurrence select 100 + {n}, {person}, 9201, '2020-06-01', null, null, null"
    " where not exists (select from cdm.visit_occurrence where visit_occurrence_id = 100 + {n})",
    "delete from cdm.visit_occurrence where visit_occurrence_id = 100 + {n}",
    "update cdm.visit_occurrence set person_id = {person} where visit_occurrence_id = 100 + {n}",
    "update cdm.person set year_of_birth = 1900 + {n}, birth_datetime = null where person_id = {person}",
    "insert into cdm.person select 10 + {n}, 8507, 1980, 1, 1, null, 0, 0"
    " where not exists (select from cdm.person where person_id = 10 + {n})",
    "update vocab.concept set concept_name = 'Name {n}' where concept_id = 9201",
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.builds(
            str.format,
            st.sampled_from(EDITS),
            n=st.integers(0, 3),
            row=st.sampled_from([10, 11]),
            person=st.sampled_from([1, 2]),
        ),
        max_size=4,
    )
)
def test_whatever_changed_the_result_is_that_of_reading_all(loaded: Database, edits: list[str]) -> None:
    change(loaded, *edits)
    again(loaded)
    found = events(loaded)
    assert not again(loaded, ALL).anything_changed
    assert events(loaded) == found
