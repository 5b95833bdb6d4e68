"""Index dates: each patient as of a moment of his own, embedded once, kept, and looked after."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ehrdb.cohorts import OmopCohort
from ehrdb.database import Database
from ehrdb.embedding import RefreshResult, index_dates, refresh
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.errors import ConfigError, EhrdbError, InputError, NotFound
from ehrdb.events.purge import purge
from ehrdb.failure import translated
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write

PAIRS = [(1, day(5)), (2, day(12)), (3, day(20))]
COHORT = """
create schema results;
create table results.cohort as
select d.cohort_definition_id, d.subject_id, d.day as cohort_start_date, d.day + 30 as cohort_end_date
  from (values (7, 1, date '2020-01-05'), (7, 2, date '2020-01-12'), (7, 404, date '2020-01-01'),
               (8, 3, date '2020-01-20'), (9, 404, date '2020-01-01')) d (cohort_definition_id, subject_id, day);
"""


@pytest.fixture
def encoder(database: Database) -> RegisteredEncoder:
    """Three patients with an event on day 1, 10 and 30 each, embedded as they are now."""
    with database.transaction() as connection:
        write(connection, [Record(p, day(d), f"SNOMED/{p}-{d}") for p in (1, 2, 3) for d in (1, 10, 30)])
        found = add_encoder(connection)
    refresh(database, found, FakeEncoder)
    return found


def run(database: Database, encoder: RegisteredEncoder, at: Any, model: FakeEncoder | None = None) -> RefreshResult:
    with database.transaction() as connection:
        dates = index_dates.resolve(connection, at)
    return refresh(database, encoder, lambda: model or FakeEncoder(), index_dates=dates)


def read(database: Database, at: Any) -> list[tuple[int, datetime]]:
    with database.transaction() as connection:
        found = index_dates.resolve(connection, at)
    return list(zip(found.patient_ids, found.as_ofs, strict=True))


def ask(database: Database, question: str) -> Any:
    with database.transaction() as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def test_each_patient_is_embedded_as_of_his_own_moment(database: Database, encoder: RegisteredEncoder) -> None:
    model = FakeEncoder()
    result = run(database, encoder, PAIRS, model)
    assert (result.moments, result.embedded, result.without) == (3, 3, 0)
    assert sorted(text.count("SNOMED") for text in model.seen) == [1, 2, 2]
    for patient, moment in PAIRS:
        assert ask(database, f"select ehr.embedding({patient}, '{moment}') is not null")


def test_a_second_run_reads_no_text_and_embeds_nothing(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder, PAIRS)
    with database.transaction() as connection:
        connection.execute("alter function ehrdb.list_timelines rename to gone")
    result = run(database, encoder, PAIRS)
    assert (result.moments, result.queued, result.embedded) == (3, 0, 0)


def test_a_text_that_several_moments_share_is_embedded_once(database: Database, encoder: RegisteredEncoder) -> None:
    assert run(database, encoder, [(1, day(5)), (1, day(6)), (1, day(7)), (1, day(7))]).embedded == 1


def test_a_late_record_is_embedded_again_as_of_the_moments_that_it_changes(
    database: Database, encoder: RegisteredEncoder
) -> None:
    run(database, encoder, [(1, day(5)), (1, day(12))])
    before = ask(database, f"select ehr.embedding(1, '{day(5)}')::text")
    with database.transaction() as connection:
        write(connection, [Record(1, day(8), "SNOMED/late")])
    model = FakeEncoder()
    refresh(database, encoder, lambda: model)
    assert sorted(text.count("SNOMED") for text in model.seen) == [3, 4]  # as of day 12, and now
    assert ask(database, f"select ehr.embedding(1, '{day(12)}') is not null")
    assert ask(database, f"select ehr.embedding(1, '{day(5)}')::text") == before


def test_pairs_of_nobody_and_of_nothing_are_counted_and_not_embedded(
    database: Database, encoder: RegisteredEncoder
) -> None:
    result = run(database, encoder, [(404, day(5)), (1, datetime(1990, 1, 1)), (2, day(5))])
    assert (result.moments, result.without, result.embedded) == (3, 2, 1)
    assert ask(database, "select count(*) from ehrdb.index_date where patient_id = 404") == 0


def test_a_purge_takes_the_moments_along(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder, PAIRS)
    assert purge(database, [1])["index_date"] == (1, 0)


@pytest.fixture
def omop(database: Database, encoder: RegisteredEncoder) -> Database:
    with database.transaction() as connection:
        connection.execute(COHORT.encode())
    return database


QUERY = "select subject_id, cohort_start_date from results.cohort where cohort_definition_id = 7 -- and so on"


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (QUERY, [(1, day(5, 0)), (2, day(12, 0)), (404, day(1, 0))]),
        ("results.cohort", [(1, day(5, 0)), (2, day(12, 0)), (3, day(20, 0)), (404, day(1, 0)), (404, day(1, 0))]),
        ("7", [(1, datetime(2020, 1, 5, 23, 59)), (2, datetime(2020, 1, 12, 23, 59))]),
        (OmopCohort(7), [(1, datetime(2020, 1, 5, 23, 59)), (2, datetime(2020, 1, 12, 23, 59))]),
        (OmopCohort(8, "results.cohort"), [(3, datetime(2020, 1, 20, 23, 59))]),
        ([(1, "2020-01-05 08:00"), (2, date(2020, 1, 12))], [(1, day(5)), (2, day(12, 0))]),
        (pl.DataFrame({"subject_id": [1], "prediction_time": [day(5)]}), [(1, day(5))]),
    ],
    ids=["query", "table", "id of a cohort", "cohort", "cohort of a table", "pairs", "frame"],
)
def test_whoever_has_pairs_may_give_them(omop: Database, at: Any, expected: list[tuple[int, datetime]]) -> None:
    assert sorted(read(omop, at)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "patient_id,as_of\n1,2020-01-05 08:00\n2,2020-01-12\n",
        "subject_id,prediction_time,boolean_value\n1,2020-01-05 08:00:00,true\n2,2020-01-12,false\n",
        "cohort_definition_id;subject_id;cohort_start_date\n7;1;2020-01-05 08:00\n7;2;2020-01-12\n",
    ],
    ids=["pairs", "labels", "cohort"],
)
def test_a_csv_file_is_read(database: Database, tmp_path: Path, text: str) -> None:
    (tmp_path / "dates.csv").write_text(text)
    assert read(database, tmp_path / "dates.csv") == [(1, day(5)), (2, day(12, 0))]
    assert read(database, str(tmp_path / "dates.csv")) == [(1, day(5)), (2, day(12, 0))]


def test_a_parquet_file_of_labels_is_read(database: Database, tmp_path: Path) -> None:
    frame = pl.DataFrame({"subject_id": [1], "prediction_time": [day(5)], "boolean_value": [True]})
    frame.write_parquet(tmp_path / "labels.parquet")
    assert read(database, tmp_path / "labels.parquet") == [(1, day(5))]


def test_a_row_that_is_no_pair_is_named_and_not_quoted(database: Database, tmp_path: Path) -> None:
    (tmp_path / "dates.csv").write_text("patient_id,as_of\n1,2020-01-05\n2,the day of her fall\n")
    with pytest.raises(InputError, match="is not a date or time") as caught:
        read(database, tmp_path / "dates.csv")
    assert (caught.value.row, caught.value.column) == (3, "as_of")
    assert "fall" not in str(caught.value)


@pytest.mark.parametrize(
    ("at", "kind", "what"),
    [
        ("select 1", ConfigError, "no query of patient ids and moments"),
        ("delete from results.cohort returning subject_id, cohort_start_date", ConfigError, "no query"),
        ("select 1, null::date", ConfigError, "1 rows have no patient, no moment"),
        ("select 1, timestamp 'infinity'", ConfigError, "1 rows have no patient, no moment"),
        ("select 1, now()", ConfigError, "time zone"),
        ("select 1, now()::timestamp where false", ConfigError, "nobody is selected"),
        ("no.where", ConfigError, "there is no table no.where"),
        ("ehr.concept", ConfigError, "none of the columns"),
        ("nowhere.csv", InputError, "no such file"),
        ("9", NotFound, "nobody of cohort 9"),
        ([1, 2], ConfigError, "no pairs"),
        ([(1, datetime.fromisoformat("2020-01-01T00:00+01:00"))], ConfigError, "time zone"),
        ([], ConfigError, "nobody is selected"),
    ],
)
def test_what_holds_no_pairs_is_refused(omop: Database, at: Any, kind: type[EhrdbError], what: str) -> None:
    with pytest.raises(kind, match=what) as caught, translated():
        read(omop, at)
    assert caught.value.hint
