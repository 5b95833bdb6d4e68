"""OMOP where it lives: a live CDM schema of the same database, and what its rows become."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ehrdb.database import Database, closing_pool
from ehrdb.errors import InputError
from ehrdb.events import OmopOptions, load_omop, load_omop_schema
from tests.conftest import same_database

CDM = Path(__file__).with_name("cdm.sql").read_bytes()


@pytest.fixture
def hospital(database: Database) -> Database:
    """A database with a CDM in schemas `cdm` and `vocab`."""
    with database.transaction() as connection:
        connection.execute(CDM)
    return database


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute(query.encode()).fetchall()


def events(database: Database) -> list[tuple[Any, ...]]:
    return rows(
        database,
        "select patient_id, ordinal, time::text, end_time::text, code, numeric_value, text_value, unit, visit_id,"
        "       visit_class, source_table"
        "  from ehrdb.event join ehrdb.concept using (code_id) left join ehrdb.unit using (unit_id) order by 1, 2",
    )


def export(database: Database, folder: Path) -> Path:
    """The same tables as CSV files."""
    with database.transaction() as connection:
        for schema, table in connection.execute(
            "select table_schema, table_name from information_schema.tables where table_schema in ('cdm', 'vocab')"
        ).fetchall():
            with (
                (folder / f"{table}.csv").open("wb") as stream,
                connection.cursor().copy(f"copy {schema}.{table} to stdout (format csv, header)".encode()) as copy,
            ):
                stream.writelines(copy)
    return folder


def conditions(database: Database) -> list[str]:
    return [code for *_, code, _, _, _, _, _, table in events(database) if table == "condition_occurrence"]


def test_a_schema_and_its_files_become_the_same_events(hospital: Database, tmp_path: Path) -> None:
    load_omop_schema(hospital, "cdm", "vocab")
    from_schema = events(hospital)
    again = load_omop(hospital, export(hospital, tmp_path))
    assert len(from_schema) == 13
    assert events(hospital) == from_schema
    assert not again.anything_changed


def test_the_schema_is_only_read(hospital: Database) -> None:
    query = "select ctid, xmin::text, * from cdm.person p"
    before = rows(hospital, query)
    load_omop_schema(hospital, "cdm", "vocab")
    assert rows(hospital, query) == before
    assert rows(hospital, "select count(*) from pg_class where relnamespace = 'cdm'::regnamespace") == [(11,)]


def test_every_table_reports_its_rows(hospital: Database) -> None:
    result = load_omop_schema(hospital, "cdm", "vocab")
    counts = {t.source_table: (t.rows_read, t.rows_loaded, t.rows_unmapped) for t in result.tables}
    assert counts == {
        "person": (2, 2, 0),
        "visit_occurrence": (2, 2, 0),
        "visit_detail": (1, 1, 0),
        "condition_occurrence": (3, 3, 1),
        "measurement": (2, 2, 0),
        "death": (1, 1, 0),
        "all events": (13, 13, 0),
        "format rules: corrected": (13, 12, 0),
        "format rules: graded": (13, 12, 0),
        "format rules: paper": (13, 12, 0),
    }


def test_the_databases_datestyle_does_not_matter(hospital: Database) -> None:
    load_omop_schema(hospital, "cdm", "vocab")
    expected = events(hospital)
    with hospital.transaction() as connection:
        connection.execute("alter role current_user set datestyle = 'German'")
    hospital.engine.dispose()
    try:
        assert not load_omop_schema(hospital, "cdm", "vocab").anything_changed
    finally:
        with hospital.transaction() as connection:
            connection.execute("alter role current_user reset datestyle")
        hospital.engine.dispose()
    assert events(hospital) == expected


def test_standard_concepts_come_first_and_0_counts_as_missing(hospital: Database) -> None:
    load_omop_schema(hospital, "cdm", "vocab")
    assert conditions(hospital) == [
        "SNOMED/44054006",
        "ICD10CM/E11.9",
        "OMOP/condition_occurrence:LOCAL1",
    ]


def test_source_concepts_can_come_first(hospital: Database) -> None:
    load_omop_schema(hospital, "cdm", "vocab", OmopOptions(concept_order=("source", "standard")))
    assert conditions(hospital)[:2] == ["ICD10CM/E11.9", "ICD10CM/E11.9"]


def test_a_date_without_a_time_is_the_days_end_but_a_birth_stays(hospital: Database) -> None:
    load_omop_schema(hospital, "cdm", "vocab")
    times = {(table, time) for _, _, time, *_, table in events(hospital)}
    assert ("condition_occurrence", "2020-03-01 23:59:00") in times
    assert ("death", "2021-01-01 23:59:00") in times
    assert ("person", "1950-02-03 00:00:00") in times


def test_as_is_leaves_dates_at_midnight(hospital: Database) -> None:
    load_omop_schema(hospital, "cdm", "vocab", OmopOptions(date_only="as_is"))
    assert ("2020-03-01 00:00:00", "condition_occurrence") in {(e[2], e[-1]) for e in events(hospital)}


def test_inpatient_and_icu_concepts_are_a_setting(hospital: Database) -> None:
    query = "select visit_id, visit_class from ehrdb.event where visit_class is not null order by time"
    load_omop_schema(hospital, "cdm", "vocab")
    assert [c for _, c in rows(hospital, query)] == ["inpatient", "icu", "other"]
    load_omop_schema(hospital, "cdm", "vocab", OmopOptions(inpatient_concepts=(8717,), icu_concepts=()))
    assert [c for _, c in rows(hospital, query)] == ["other", "inpatient"]


def test_an_icu_care_site_makes_a_visit_detail_intensive_care(hospital: Database) -> None:
    with hospital.transaction() as connection:
        connection.execute("insert into ehrdb.icu_care_site values ('CARE_SITE/77')")
    load_omop_schema(hospital, "cdm", "vocab", OmopOptions(icu_concepts=()))
    assert rows(hospital, "select count(*) from ehrdb.event where visit_class = 'icu'") == [(1,)]


def test_units_are_as_written_else_of_their_concept(hospital: Database) -> None:
    load_omop_schema(hospital, "cdm", "vocab")
    units = [(e[5], e[7]) for e in events(hospital) if e[-1] == "measurement"]
    assert units == [(105.5, "mg/dl"), (99.0, "mg/dL")]


def test_a_bad_row_of_a_schema_is_refused_with_table_and_column(hospital: Database) -> None:
    with hospital.transaction() as connection:
        connection.execute("insert into cdm.condition_occurrence values (33, 99, 201826, '2020-01-01')")
    with pytest.raises(InputError, match=r"cdm\.condition_occurrence.*person_id"):
        load_omop_schema(hospital, "cdm", "vocab")
    assert events(hospital) == []


def test_a_bad_row_of_a_schema_can_be_skipped(hospital: Database) -> None:
    with hospital.transaction() as connection:
        connection.execute("insert into cdm.condition_occurrence values (33, 1, 201826, null)")
    result = load_omop_schema(hospital, "cdm", "vocab", OmopOptions(skip_bad_rows=True))
    (report,) = [t for t in result.tables if t.source_table == "condition_occurrence"]
    assert (report.rows_read, report.rows_loaded, report.rows_rejected) == (4, 3, 1)
    assert len(events(hospital)) == 13


def test_a_schema_without_a_cdm_is_named(database: Database) -> None:
    with pytest.raises(InputError, match="nowhere"):
        load_omop_schema(database, "nowhere")


# --- absent, invisible, and other kinds of tables ---------------------------------------------------------------------


@pytest.fixture
def lent(database: Database, server_url: str, owner_url: str) -> Iterator[Database]:
    """The CDM of somebody else, who lets all read it: that owner's view of the test's database."""
    if server_url == owner_url:
        pytest.skip("a superuser may read everything")
    with closing_pool(Database(same_database(server_url, database))) as lender:
        with lender.transaction() as connection:
            connection.execute(CDM)
            connection.execute("grant usage on schema cdm, vocab to public")
            connection.execute("grant select on all tables in schema cdm, vocab to public")
        yield lender


def test_what_others_let_read_is_read(database: Database, lent: Database) -> None:
    assert load_omop_schema(database, "cdm", "vocab").new == 2


def test_a_table_that_may_not_be_read_is_an_error_not_an_absent_one(database: Database, lent: Database) -> None:
    load_omop_schema(database, "cdm", "vocab")
    before = events(database)
    with lent.transaction() as connection:
        connection.execute("revoke select on cdm.condition_occurrence from public")
    with pytest.raises(InputError, match=r"cdm\.condition_occurrence, column \w+: may not be read") as caught:
        load_omop_schema(database, "cdm", "vocab")
    assert 'grant select on "cdm"."condition_occurrence"' in str(caught.value.hint)
    assert events(database) == before


def test_a_column_that_may_not_be_read_is_an_error_and_others_need_no_right(database: Database, lent: Database) -> None:
    with lent.transaction() as connection:
        connection.execute("alter table cdm.measurement add note text")
        connection.execute("revoke select on cdm.measurement from public")
        columns = [
            name
            for (name,) in connection.execute(
                "select attname from pg_attribute where attrelid = 'cdm.measurement'::regclass and attnum > 0"
            )
        ]
        readable = ", ".join(name for name in columns if name != "note")
        connection.execute(f"grant select ({readable}) on cdm.measurement to public".encode())
    load_omop_schema(database, "cdm", "vocab")
    with lent.transaction() as connection:
        connection.execute("revoke select (value_as_number) on cdm.measurement from public")
    with pytest.raises(InputError, match=r"cdm\.measurement, column value_as_number: may not be read"):
        load_omop_schema(database, "cdm", "vocab")


def test_a_schema_that_may_not_be_looked_into_is_an_error(database: Database, lent: Database) -> None:
    with lent.transaction() as connection:
        connection.execute("revoke usage on schema cdm from public")
    with pytest.raises(InputError, match="you may not look into schema cdm"):
        load_omop_schema(database, "cdm", "vocab")


def test_rows_that_a_policy_hides_are_an_error(database: Database, lent: Database) -> None:
    with lent.transaction() as connection:
        connection.execute("alter table cdm.condition_occurrence enable row level security")
        connection.execute("create policy one_patient on cdm.condition_occurrence using (person_id = 1)")
    with pytest.raises(InputError, match=r"^cdm\.condition_occurrence: cannot be read whole: .*row-level security"):
        load_omop_schema(database, "cdm", "vocab")


def test_a_materialized_view_without_data_is_an_error(hospital: Database) -> None:
    with hospital.transaction() as connection:
        connection.execute("alter table cdm.measurement rename to lab")
        connection.execute("create materialized view cdm.measurement as select * from cdm.lab with no data")
    with pytest.raises(InputError, match=r"^cdm\.measurement: cannot be read whole: .*has not been populated"):
        load_omop_schema(hospital, "cdm", "vocab")


def test_a_table_that_was_dropped_since_the_last_load_is_an_error(hospital: Database) -> None:
    load_omop_schema(hospital, "cdm", "vocab")
    with hospital.transaction() as connection:
        connection.execute("drop table cdm.condition_occurrence")
    with pytest.raises(InputError, match="the last load of omop had condition_occurrence; this one has not"):
        load_omop_schema(hospital, "cdm", "vocab")
    load_omop_schema(hospital, "cdm", "vocab", OmopOptions(allow_missing=("condition_occurrence",)))
    assert conditions(hospital) == []


def test_materialized_views_and_views_are_read(hospital: Database) -> None:
    load_omop_schema(hospital, "cdm", "vocab")
    before = events(hospital)
    with hospital.transaction() as connection:
        connection.execute("alter table cdm.measurement rename to lab")
        connection.execute("create materialized view cdm.measurement as select * from cdm.lab")
        connection.execute("alter table cdm.condition_occurrence rename to diagnosis")
        connection.execute("create view cdm.condition_occurrence as select * from cdm.diagnosis")
    assert not load_omop_schema(hospital, "cdm", "vocab").anything_changed
    assert events(hospital) == before


def test_tables_of_a_schema_that_were_not_read_are_named(hospital: Database) -> None:
    with hospital.transaction() as connection:
        connection.execute("create table cdm.measurement_2 (measurement_id integer)")
        connection.execute("create table cdm.part (check (measurement_id < 0)) inherits (cdm.measurement)")
    result = load_omop_schema(hospital, "cdm", "vocab")
    (report,) = [report for report in result.tables if report.source_table == "not read"]
    assert report.reasons == {"cdm.measurement_2": 1}


def test_a_column_in_two_letter_cases_is_refused(hospital: Database) -> None:
    with hospital.transaction() as connection:
        connection.execute('alter table cdm.measurement add "PERSON_ID" integer')
    with pytest.raises(InputError, match=r"cdm\.measurement, column person_id: is there twice, in two letter cases"):
        load_omop_schema(hospital, "cdm", "vocab")


# --- times with a zone ------------------------------------------------------------------------------------------------


def test_times_with_a_zone_are_refused_until_told_whose_clock(hospital: Database) -> None:
    load_omop_schema(hospital, "cdm", "vocab")
    before = events(hospital)
    with hospital.transaction() as connection:
        connection.execute("set local timezone = 'Europe/Berlin'")
        connection.execute("alter table cdm.visit_occurrence alter visit_start_datetime type timestamptz")
    with pytest.raises(
        InputError, match=r"cdm\.visit_occurrence, column visit_start_datetime: holds times with a time"
    ):
        load_omop_schema(hospital, "cdm", "vocab")
    load_omop_schema(hospital, "cdm", "vocab", OmopOptions(time_zone="Europe/Berlin"))
    assert events(hospital) == before
    with pytest.raises(InputError, match="Mars/Olympus is no time zone"):
        load_omop_schema(hospital, "cdm", "vocab", OmopOptions(time_zone="Mars/Olympus"))
