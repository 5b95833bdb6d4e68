"""`import ehrdb`: every question as a method, cohorts as people have them, errors that say what to do next."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sqlalchemy import make_url

import ehrdb
from ehrdb import tables
from ehrdb.client import Client
from ehrdb.config import Settings
from ehrdb.database import Database, open_database
from ehrdb.embedding import refresh
from ehrdb.errors import (
    ArgumentError,
    ConfigError,
    EhrdbError,
    EhrdbWarning,
    NotAllowed,
    NotFound,
    WorkerUnavailable,
)
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder
from tests.conftest import created_role, run
from tests.filled import filled_once
from tests.records import Record, add_encoder, add_head, day, write, write_patients
from tests.search.test_words import answered


def fill(database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 30)
        connection.execute("update ehrdb.patient set sex = case when patient_id % 2 = 0 then 'F' else 'M' end")
        encoder = add_encoder(connection)
        connection.execute(
            "insert into ehrdb.task values ('sepsis', 'site', 'binary', '', '{\"shape\": \"imported\"}')"
        )
        connection.execute("insert into ehrdb.label (task, patient_id, prediction_time, value) values"
                           " ('sepsis', 1, '2020-02-01', 1), ('sepsis', 2, '2020-02-01', 0)")  # fmt: skip
        add_head(connection, "sepsis", encoder)
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        write(connection, [Record(31, day(1), "SNOMED/1")])


@pytest.fixture(scope="session")
def template(server_url: str, owner_url: str, template: str) -> Iterator[str]:
    """Thirty embedded patients, a task with two labels and a head; patient 31 has nothing embedded."""
    with filled_once(server_url, owner_url, template, "client", fill) as name:
        yield name


@pytest.fixture
def filled(database: Database) -> Database:
    """A copy of that."""
    return database


@pytest.fixture
def db(filled: Database) -> Iterator[Client]:
    with ehrdb.connect(filled.url) as client:
        yield client


def test_importing_takes_no_library_with_it() -> None:
    code = "import sys, ehrdb; print({'numpy', 'polars', 'psycopg', 'pydantic'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_who_forgets_to_close_hears_nothing_of_it_at_the_end(tmp_path: Path) -> None:
    """On an embedded server, whose package cannot be closed any more once the interpreter is half gone."""
    settings = Settings(home=tmp_path, database_url=None)
    with open_database(settings, create=True) as database:
        upgrade(database)
    code = (
        "import ehrdb; db = ehrdb.connect()\n"
        "def ask(): return db.sql('select 1')[0, 0]\n"  # a notebook's cells are full of cycles
        "print(ask())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "EHRDB_DATABASE_URL"}
    environment["EHRDB_HOME"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_tables_are_polars_frames_or_pandas_frames_or_rows(filled: Database) -> None:
    query = "select 1 as n, 0.5::numeric as x, null::text as word, true as yes, timestamp '2020-01-01' as at"
    with ehrdb.connect(filled.url) as db:
        frame = db.sql(query)
        assert isinstance(frame, pl.DataFrame)
        assert frame.dtypes == [pl.Int64, pl.Float64, pl.String, pl.Boolean, pl.Datetime("us")]
    with ehrdb.connect(filled.url, frames="pandas") as db:
        frame = db.sql(query)
        assert isinstance(frame, pd.DataFrame)
        assert [str(kind) for kind in frame.dtypes] == ["Int64", "Float64", "string", "boolean", "datetime64[us]"]
    with ehrdb.connect(filled.url, frames="rows") as db:
        assert db.sql("select 1 as n where false") == []
        assert db.sql(query) == [{"n": 1, "x": 0.5, "word": None, "yes": True, "at": datetime(2020, 1, 1)}]


def test_an_empty_table_has_its_columns_and_their_types(db: Client) -> None:
    with pytest.warns(EhrdbWarning, match="nobody is in the cohort"):
        frame = db.nearest(1, cohort=[])
    assert frame.schema["patient_id"] == pl.Int64
    assert frame.height == 0


COHORTS = {
    "ids": [2, 4],
    "array": np.array([2, 4]),
    "series": pl.Series([2, 4]),
    "polars": pl.DataFrame({"patient_id": [2, 4], "x": ["a", "b"]}),
    "pandas": pd.DataFrame({"subject_id": [2, 4]}),
    "sql": "select patient_id from ehr.patient where patient_id in (2, 4) -- both",
    "omop": ehrdb.OmopCohort(7, "public.cohort"),
}


@pytest.mark.parametrize("kind", COHORTS)
def test_a_cohort_is_what_people_have(db: Client, kind: str) -> None:
    db.sql("create table public.cohort (cohort_definition_id integer, subject_id bigint)")
    db.sql("insert into public.cohort values (7, 2), (7, 4), (8, 6)")
    assert sorted(db.nearest(1, cohort=COHORTS[kind])["patient_id"]) == [2, 4]


@pytest.mark.parametrize(
    ("cohort", "message"),
    [
        ([1, None], "position 1 is NoneType"),
        ([True, False], "position 0 is bool"),
        (pl.DataFrame({"id": [1]}), "no column patient_id, but id"),
        ("delete from ehr.patient", "not a query of patient ids"),
        (ehrdb.OmopCohort(7, "nowhere.cohort"), "not a query of patient ids"),
    ],
)
def test_what_is_no_cohort_is_named(db: Client, cohort: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        db.nearest(1, cohort=cohort)
    assert caught.value.hint


def test_neighbours_of_a_patient_and_of_their_vector_agree(db: Client) -> None:
    by_id = db.nearest(1, k=3)
    by_vector = db.nearest(db.embeddings(1).vectors[0], k=4)
    assert by_id["patient_id"].to_list() == by_vector["patient_id"].to_list()[1:]
    assert by_vector["patient_id"][0] == 1


def test_embeddings_are_aligned_with_their_ids_and_who_has_none_is_named(db: Client) -> None:
    found = db.embeddings([3, 31, 2])
    assert (found.patient_ids.tolist(), found.without.tolist()) == ([2, 3], [31])
    assert found.vectors.dtype == np.dtype(np.float32)
    alone = db.embeddings(3)
    assert np.array_equal(found.vectors[1], alone.vectors[0])
    assert db.embeddings().vectors.shape == (30, 8)
    assert db.embeddings(as_of="1999-01-01").without.tolist() == list(range(1, 32))


def test_risks_come_most_probable_first(db: Client) -> None:
    frame = db.predict("sepsis", [1, 2, 3])
    assert frame["probability"].is_sorted(descending=True)
    assert db.probability("sepsis", 2) == frame.filter(pl.col("patient_id") == 2)["probability"][0]


def test_a_timeline_is_text_and_shows_itself_without_markup(db: Client) -> None:
    db.sql("update ehrdb.concept set description = '<script>alert(1)</script>' where code = 'SNOMED/10'")
    found = db.timeline(1)
    assert str(found) == found.text
    assert "<script>" in found.text
    assert "<script>" not in found._repr_html_()


def test_explanations_labels_matches_and_status_are_tables(db: Client) -> None:
    assert set(db.explain(1, 2)["relation"]) == {"only_a", "only_b"}
    assert db.labels("sepsis")["value"].to_list() == [1, 0]
    matching = db.match([1, 2], ratio=2)
    assert (matching.pairs.height, matching.cases) == (4, 2)
    assert "standardized_difference" in matching._repr_html_()
    assert db.status().encoders["embedded"].to_list() == [30]


def test_a_map_is_written_for_its_writer_alone(db: Client, tmp_path: Path) -> None:
    picture = db.map(task="sepsis")
    picture.save(tmp_path / "map.html")
    assert picture.patients == 30
    assert (tmp_path / "map.html").stat().st_mode & 0o777 == 0o600
    assert "sandbox" in picture._repr_html_()


def test_who_has_no_label_is_not_painted_as_negative(db: Client) -> None:
    page = db.map(task="sepsis").page
    for group in ("positive: 1", "negative: 1", "no label: 28"):
        assert f"</span>{group}</li>" in page


@pytest.mark.parametrize(
    ("question", "error", "code"),
    [
        ("timeline(404)", NotFound, "EH001"),
        ("timeline(1, format='cuneiform')", ArgumentError, "EH002"),
        ("probability('sepsis', 31)", NotFound, "EH004"),
        ("probability('luck', 1)", NotFound, "EH005"),
        ("labels('luck')", NotFound, None),
        ("nearest(404)", NotFound, "EH001"),
        ("nearest(1, cohort=[404])", NotFound, "EH001"),
        ("nearest(1, encoder='none')", NotFound, "EH003"),
        ("nearest(1, as_of='2020-01-02')", NotFound, "EH004"),
        ("nearest(1, as_of='1900-01-01')", NotFound, "EH004"),
        ("nearest(1, k=-1)", ArgumentError, "EH010"),
        ("nearest(1, as_of='yesterday')", ConfigError, None),
        ("nearest(' ')", ConfigError, None),
        ("nearest('heart failure', by_worker=True)", WorkerUnavailable, "EH008"),
        ("search('heart failure')", WorkerUnavailable, "EH008"),
        ("outcomes(1, 'sepsis', None)", ArgumentError, "EH010"),
        ("outcomes(1, 'luck', '2020-02-28')", NotFound, "EH005"),
        ("explain(1, 404)", NotFound, "EH001"),
        ("match([])", ConfigError, None),
        ("predict('luck')", NotFound, "EH005"),
        ("sql('select ehr.timeline(404)')", NotFound, "EH001"),
        ("sql('select * from ehr.nearest_patients(1, 5, null, %s)', ['2020-01-02'])", NotFound, "EH004"),
        ("sql('select * from ehr.patients')", ArgumentError, "42P01"),
        ("sql('select 1 as a, 2 as a')", ConfigError, None),
        ("evaluate('sepsis', k=[0])", ConfigError, None),
    ],
)
def test_an_error_says_what_it_is_and_what_to_do(
    db: Client, question: str, error: type[EhrdbError], code: str | None
) -> None:
    with pytest.raises(error) as caught:
        eval(f"db.{question}", {"db": db})
    assert type(caught.value) is error
    assert caught.value.code == code
    assert caught.value.hint or code == "42P01"
    shown = "".join(traceback.format_exception(caught.value))  # as a notebook does
    assert f"hint: {caught.value.hint}" in shown or not caught.value.hint
    assert f"code: {code}" in shown or not code


@pytest.mark.parametrize(
    "statement",
    [
        "select 'secret'::integer",
        "select description::integer from (select description || 'secret' as description from ehr.event) e",
        "select 1 / (length('secret') - 6)",
        "do $$ begin raise exception 'secret' using hint = 'secret', detail = 'secret'; end $$",
    ],
)
def test_what_sql_reports_of_rows_is_not_quoted(db: Client, statement: str) -> None:
    with pytest.raises(EhrdbError) as caught:
        db.sql(statement)
    assert "secret" not in f"{caught.value} {caught.value.hint} {caught.value.__notes__}"
    assert caught.value.code
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("timeline(1, '1900-01-01')", "no line of this kind by then"),
        ("explain(1, 2, '1900-01-01')", "neither has a record by then"),
        ("predict('sepsis', cohort='select patient_id from ehr.patient where false')", "nobody is in the cohort"),
        ("search('Herzschwäche')", "another language"),
    ],
)
def test_an_answer_that_is_less_than_it_looks_is_remarked_on(
    db: Client, filled: Database, question: str, words: str
) -> None:
    with answered(filled), pytest.warns(EhrdbWarning, match=words):
        eval(f"db.{question}", {"db": db})
    with ehrdb.connect(filled.url, frames="rows") as program, answered(filled):
        eval(f"db.{question}", {"db": program})  # no warning: an error here


def test_a_role_without_rights_is_told_what_to_grant(filled: Database, server_url: str) -> None:
    with (
        created_role(server_url, f"ehrdb_norights_{os.getpid()}") as url,
        pytest.raises(NotAllowed, match="no rights") as caught,
    ):
        ehrdb.connect(make_url(url).set(database=make_url(filled.url).database).render_as_string(hide_password=False))
    assert "grants ehr_analyst to the role" in (caught.value.hint or "")


def test_a_role_sees_what_it_may_and_is_named_in_the_audit(filled: Database, server_url: str) -> None:
    ward = f"ehrdb_ward_{os.getpid()}"
    with ExitStack() as roles:
        roles.enter_context(created_role(server_url, ward, "in role ehr_analyst"))
        owner = Client(filled, Settings(), "rows", ExitStack())
        login = owner.sql("select session_user::text as login")[0]["login"]
        run(server_url, f"grant {ward} to {login}")
        owner.sql(
            "create view public.visible with (security_barrier) as"
            f" select 2::bigint as patient_id where current_user = '{ward}'"
        )
        owner.sql("grant select on public.visible to ehr_analyst")
        owner.sql("select ehr.protect('public.visible')")
        with ehrdb.connect(filled.url, ward, frames="rows") as db:
            assert [row["patient_id"] for row in db.predict("sepsis")] == [2]
            with pytest.raises(NotFound):
                db.timeline(1)
        noted = owner.sql("select what, patients from ehr.audit order by at")
        assert noted[-1] == {"what": f"timeline as {ward}", "patients": [1]}
        owner.sql("select ehr.unprotect()")
        owner.sql("drop view public.visible")


def test_a_role_that_the_login_may_not_take_is_refused_with_the_sql(analyst: Database) -> None:
    with pytest.raises(NotAllowed) as caught:
        ehrdb.connect(analyst.url, "nobody_of_this_name")
    assert 'grant "nobody_of_this_name" to' in (caught.value.hint or "")


@pytest.mark.parametrize("frames", ["polars", "pandas", "rows"])
def test_everybody_is_asked_about_as_of_a_moment_of_their_own(
    filled: Database, monkeypatch: pytest.MonkeyPatch, frames: str
) -> None:
    monkeypatch.setattr("ehrdb.client.load_encoder", lambda *_: FakeEncoder())
    pairs = pl.DataFrame({"subject_id": [1, 2], "cohort_start_date": [day(25), day(26)]})
    others = [(p, day(27)) for p in (3, 4, 5, 404)]
    with ehrdb.connect(filled.url, frames=frames) as db:  # type: ignore[arg-type]
        assert db.refresh(at=pairs).moments == 2
        assert db.refresh(at=others).without == 1
        found = db.predict("sepsis", at=pairs.to_pandas())
        assert list(tables.column(found, "patient_id")) == [1, 2]
        assert len(db.nearest_at(pairs, 2, others)) == 4
        assert len(db.similarity_at(pairs, pairs)) == 2
        assert len(db.explain_at(pairs, pairs)) == 6
        assert len(db.outcomes_at(pairs, "SNOMED/30", candidates=others)) == 4
        matched = db.match_at(pairs, others)
        assert (len(matched.pairs), matched.cases) == (2, 2)
        assert len(matched.balance) > 5
        assert len(db.match_at(pairs, [(1, day(1))]).pairs) == 2  # nobody is left, and each case says so
        assert len(db.risk_history("sepsis", 1, [day(25), "2020-01-26"])) == 2


def test_index_dates_and_a_cohort_exclude_each_other(db: Client) -> None:
    with pytest.raises(ConfigError, match="who and as of when"):
        db.predict("sepsis", [1], at=[(1, day(25))])


def test_what_a_notebook_catches_is_at_hand(filled: Database) -> None:
    with ehrdb.connect(filled.url) as db, pytest.raises(ehrdb.EhrdbError, match="unknown patient 404"):
        db.timeline(404)
    assert issubclass(ehrdb.EhrdbWarning, UserWarning)
    assert all(hasattr(ehrdb, name) for name in ehrdb.__all__)
