"""Two sites in one database: `ehr.protect` lets each reader see their own, through every table, view and function."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from ehrdb.config import Settings
from ehrdb.database import Connection, Database
from ehrdb.doctor import examine
from ehrdb.embedding import Snapshot, refresh, registry
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder
from tests.conftest import bootstrap, created_database, same_database
from tests.records import Record, add_encoder, add_head, day, write, write_patients
from tests.servers.test_ordinary_owner import client

OURS, THEIRS = set(range(1, 11)), set(range(11, 21))
SITE = """
create schema site;
create table site.access (reader name, patient_id bigint, primary key (patient_id, reader));
create view site.visible with (security_barrier) as select patient_id from site.access where reader = current_user;
grant usage on schema site to ehr_analyst;
grant select on site.visible to ehr_analyst;
"""


def fill(database: Database, reader: str) -> None:
    """Twenty patients of two sites with everything there is about patients; the reader may see the first ten."""
    with database.transaction() as connection:
        write_patients(connection, 20)
        write(connection, [Record(p, day(3), "LOINC/1", value=1.0, unit="mg") for p in range(1, 21)])
        write(connection, [Record(p, day(4), "SNOMED/same") for p in (1, 11)])
        connection.execute(
            "insert into ehrdb.task values ('death', 'own', 'binary', 'a task', '{\"shape\": \"imported\"}')"
        )
        connection.execute(
            "insert into ehrdb.label select 'death', p, timestamp '2020-01-20', p % 2 from generate_series(1, 20) p"
        )
        connection.execute("update ehrdb.event set visit_class = 'inpatient' where ordinal = 1")
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder, snapshot=Snapshot(day(12)))
    with database.transaction() as connection:
        add_head(connection, "death", encoder)
        connection.execute(
            "insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance)"
            " select task, 'death_day_30', encoder_id, prompt_id, weights, intercept, provenance from ehrdb.head"
        )
        connection.execute('update ehrdb.head set provenance = \'{"labels_until": "2020-01-01"}\'')
        connection.execute(  # the labels' moments are embedded too
            "insert into ehrdb.embedding_point (encoder_id, prompt_id, patient_id, as_of, is_current, content_sha256)"
            " select encoder_id, prompt_id, patient_id, '2020-01-20', false, content_sha256 from ehrdb.embedding_point"
            "  where as_of = %s",
            [day(12)],
        )
        connection.execute("select ehrdb.store_predictions(null, null)")
        connection.execute(
            "insert into ehrdb.risk_reason (head_id, patient_id, content_sha256, as_of, most_lines, reasons)"
            " select distinct on (h.head_id, p.patient_id, p.content_sha256) h.head_id, p.patient_id, p.content_sha256,"
            "        p.as_of, 500, '{}'::jsonb from ehrdb.embedding_point p join ehrdb.head h using (encoder_id)"
        )
        write(connection, [Record(p, day(28), "SNOMED/late") for p in (2, 12)])
        connection.execute("update ehrdb.embedding_job set attempts = 1, reason = 'EmptyText'")
        connection.execute(
            "insert into ehrdb.embedding_job (encoder_id, content_sha256, prompt_id, patient_id, as_of, characters,"
            " attempts) select %s, sha256(p::text::bytea), %s, p, now(), 1, 1 from generate_series(1, 20) p",
            [encoder.encoder_id, encoder.prompt_id],
        )
        connection.execute(SITE)
        connection.execute("insert into site.access select %s, p from generate_series(1, 10) p", [reader])
        connection.execute(
            "create schema results; create table results.cohort as"
            " select 7 as cohort_definition_id, p as subject_id, date '2020-01-01' as cohort_start_date,"
            "        date '2020-01-02' as cohort_end_date from generate_series(1, 20) p"
        )
        grant = f'grant usage on schema results to "{reader}"; grant select on results.cohort to "{reader}"'
        connection.execute(grant.encode())


@pytest.fixture
def reader(analyst: Database) -> str:
    return str(make_url(analyst.url).username)


@pytest.fixture
def protected(database: Database, reader: str) -> Database:
    fill(database, reader)
    with database.transaction() as connection:
        row = connection.execute("select ehr.protect('site.visible')").fetchone()
    assert row is not None
    assert row[0] >= 9
    return database


def unprotected(connection: Connection) -> list[str]:
    """Tables and partitions through which a patient could be seen past a policy, whoever may read them now."""
    return [
        name
        for (name,) in connection.execute(
            "select c.oid::regclass::text from pg_class c"
            " where c.relnamespace = 'ehrdb'::regnamespace and c.relkind in ('r', 'p')"
            "   and (c.relname like 'embedding%' or exists (select from pg_attribute a"
            "                                                where a.attrelid = c.oid and a.attname = 'patient_id'))"
            "   and not (c.relrowsecurity"
            "            and (c.relispartition"
            "                 or exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'visible')))"
        )
    ]


def _of(place: str) -> bytes:
    return sql.SQL("select patient_id from {}").format(sql.Identifier(*place.split("."))).as_bytes()


def test_no_table_and_no_partition_is_left_open(protected: Database) -> None:
    with protected.transaction() as connection:
        assert unprotected(connection) == []
        add_encoder(connection, "later")
        assert unprotected(connection) == []


def test_a_table_that_comes_with_an_upgrade_is_protected_by_it(protected: Database) -> None:
    with protected.transaction() as connection:
        connection.execute("create table ehrdb.new_table (patient_id bigint)")
        assert unprotected(connection) == ["ehrdb.new_table"]
    upgrade(protected)
    with protected.transaction() as connection:
        assert unprotected(connection) == []


def test_every_readable_table_and_view_shows_a_reader_their_own_patients_alone(
    protected: Database, analyst: Database
) -> None:
    with analyst.transaction() as connection:
        places = connection.execute(
            "select c.oid::regclass::text from pg_class c join pg_attribute a on a.attrelid = c.oid"
            " where c.relnamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace) and a.attname = 'patient_id'"
            "   and c.relkind in ('r', 'p', 'v') and has_column_privilege(c.oid, a.attnum, 'select')"
        ).fetchall()
        assert len(places) > 12
        for (place,) in places:
            seen = {p for (p,) in connection.execute(_of(place))}
            assert seen <= OURS, place
            assert seen or place in ("ehrdb.radiology_report",), f"{place} is empty: the test shows nothing"
        row = connection.execute("select count(*) from ehrdb.embedding").fetchone()
    with protected.transaction() as connection:
        found = connection.execute("select count(*) from ehrdb.embedding").fetchone()
    assert row is not None
    assert found is not None
    assert 0 < row[0] < found[0]


def test_no_reader_sees_a_digest_of_a_record_that_they_may_not_read(protected: Database, analyst: Database) -> None:
    """Digests tell whether a record is one that somebody has. Who may read the text may see the digest of it."""
    with protected.transaction() as connection:
        row = connection.execute(
            "select array(select content_sha256 from ehrdb.embedding_point where patient_id > 10"
            "             union select content_sha256 from ehrdb.embedding_job where patient_id > 10"
            "             except select content_sha256 from ehrdb.embedding_point where patient_id <= 10),"
            "       array(select fingerprint from ehrdb.patient)"
        ).fetchone()
        assert row is not None
        theirs, fingerprints = set(row[0]), set(row[1])
        assert len(theirs) > 10
        readable = connection.execute(
            "select distinct c.oid::regclass::text, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid"
            " cross join (select rolname from pg_roles where rolname in ('ehr_analyst', 'pg_monitor')) r"
            " where c.relnamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace) and a.atttypid = 'bytea'::regtype"
            "   and c.relkind in ('r', 'p', 'v', 'm') and has_column_privilege(r.rolname, c.oid, a.attnum, 'select')"
        ).fetchall()
    assert {place for place, _ in readable} == {
        *("ehrdb.embedding", "ehrdb.embedding_point", "ehrdb.patient_embedding", "ehrdb.embedding_job"),
        *("ehrdb.served_embedding", "ehrdb.encoder_file", "ehr.current_timeline", "ehrdb.risk_reason"),
    }
    for place, column in readable:
        with analyst.transaction() as connection:
            query = sql.SQL("select {} from {}").format(sql.Identifier(column), sql.Identifier(*place.split(".")))
            assert not {d for (d,) in connection.execute(query)} & (theirs | fingerprints), place


# One question per function of ehr that looks at patients: with the answer's patients in the first columns, or an error.
ASKED = {
    "nearest_patients": "select patient_id from ehr.nearest_patients(1, 30)",
    "nearest_patients as of": "select patient_id from ehr.nearest_patients(1, 9, as_of => '2020-01-12 08:00')",
    "nearest_patients of a vector": "select patient_id from ehr.nearest_patients(ehr.embedding(1), 30)",
    "nearest_patients among both": "select patient_id from ehr.nearest_patients(1, 30, array[2, 3, 12, 13])",
    "patients_by_words": "select patient_id from ehr.patients_by_words('text snomed', 30)",
    "survival": "select patient_id from ehr.survival('death')",
    "cohort": "select unnest(ehr.cohort(7))",
    "cohort_moments": "select unnest(patient_ids) from ehr.cohort_moments(7)",
    "predict_cohort": "select patient_id from ehr.predict_cohort('death')",
    "predict_cohort of tasks": "select patient_id from ehr.predict_cohort(array['death'])",
    "predict_cohort as of": "select patient_id from ehr.predict_cohort('death', as_of => '2020-01-12 08:00')",
    "match_cohort": "select unnest(array[case_id, control_id]) from ehr.match_cohort(array[1, 2, 11, 12])",
    "duplicate_patients": "select unnest(array[patient_a, patient_b]) from ehr.duplicate_patients(-1)",
    "outlying_patients": "select patient_id from ehr.outlying_patients(30)",
    "current_timelines": "select patient_id from ehr.current_timelines()",
    "current_timelines in Markdown": "select patient_id from ehr.current_timelines('markdown')",
}

# The same of pairs, some of them of the other site.
OF_PAIRS = {
    "predict_at": "select patient_id from ehr.predict_at('death', {pairs}) where reason is null",
    "survival_at": "select patient_id from ehr.survival_at('death', {pairs}) where reason is null",
    "embeddings_at": "select patient_id from ehr.embeddings_at({pairs}) where reason is null",
    "nearest_at": "select neighbour_id from ehr.nearest_at(array[1], {moment}, 30, {pairs}) where reason is null",
    "similarity_at": "select patient_b from ehr.similarity_at({pairs}, {pairs}) where reason is null",
    "explain_similarity_at": "select patient_b from ehr.explain_similarity_at({pairs}, {pairs}) where reason is null",
    "match_cohort_at": "select control_id from ehr.match_cohort_at(array[1, 2], {moment} || {moment}, {pairs}, 2)"
    " where reason is null",
}
_AT = "array['2020-01-12 08:00']::timestamp[]"
_PAIRS = f"array[3, 4, 13, 14], {_AT} || {_AT} || {_AT} || {_AT}"
ASKED |= {name: question.format(pairs=_PAIRS, moment=_AT) for name, question in OF_PAIRS.items()}


def test_what_a_function_gives_is_about_the_readers_own_patients(protected: Database, analyst: Database) -> None:
    for name, question in ASKED.items():
        with analyst.transaction() as connection:
            found = {p for (p,) in connection.execute(question.encode())}
        assert found, name
        assert found <= OURS, name
        with protected.transaction() as connection:
            assert {p for (p,) in connection.execute(question.encode())} & THEIRS, name


UNKNOWN = {
    "timeline": "select ehr.timeline(11)",
    "embedding": "select ehr.embedding(11)",
    "similarity": "select ehr.similarity(1, 11)",
    "similarity with weights": "select ehr.similarity(1, 11, weights => '{}')",
    "similarity_by_part": "select * from ehr.similarity_by_part(1, 11)",
    "predict": "select ehr.predict('death', 11)",
    "nearest_patients": "select * from ehr.nearest_patients(11)",
    "risk_history": "select * from ehr.risk_history('death', 11)",
    "risk_reasons": "select * from ehr.risk_reasons('death', 11)",
    "nearest_outcomes": "select * from ehr.nearest_outcomes(11, 'death', '2020-01-12 08:00')",
    "explain_similarity": "select * from ehr.explain_similarity(1, 11)",
}


def test_another_sites_patient_is_unknown(protected: Database, analyst: Database) -> None:
    for name, question in UNKNOWN.items():
        with pytest.raises(psycopg.Error) as caught, analyst.transaction() as connection:
            connection.execute(question.encode())
        assert caught.value.sqlstate == "EH001", name


# What is said of sets is said of those who are seen: the same as if the others were not there.
SUMMED = {
    "centroid": "select ehr.centroid(null::bigint[])::text",
    "cohort_balance": "select array_agg(b::text) from ehr.cohort_balance(array[1, 2, 11, 12], array[3, 4, 13, 14]) b",
    "nearest_outcomes": "select array_agg(o::text) from ehr.nearest_outcomes(1, 'death', '2020-01-12 08:00', k => 5) o",
    "cohort_balance_at": "select array_agg(b::text) from (select array_agg(timestamp '2020-02-01') as t"
    " from generate_series(1, 4)) m, ehr.cohort_balance_at(array[1, 2, 11, 12], m.t, array[3, 4, 13, 14], m.t) b",
    "nearest_outcomes_at": "select array_agg(o::text)"
    " from (select array_agg(p) as p, array_agg(timestamp '2020-01-12 08:00') as t from generate_series(1, 20) p) m,"
    " ehr.nearest_outcomes_at(m.p[:1], m.t[:1], 'death', k => 5, candidate_ids => m.p, candidate_as_ofs => m.t) o",
    "monitor": "select array_agg((month, labels, patients)::text) from ehr.monitor()",
    "search_recall": "select queries from ehr.search_recall()",
    "embedding_status": "select array_agg((patients, embedded, stale, missing)::text) from ehr.embedding_status",
    "search_concepts": "select array_agg((code, patients)::text order by code) from ehr.search_concepts('LOINC')",
    "task": "select array_agg((labels, positives)::text) from ehr.task",
    "timelines": "select array_agg(text) from ehr.timelines(array[11, 12], array['infinity', 'infinity']::timestamp[])"
    " where text <> ''",
}


def test_what_is_said_of_many_is_said_of_the_readers_own(protected: Database, analyst: Database) -> None:
    with analyst.transaction() as connection:
        seen = {name: connection.execute(question.encode()).fetchone() for name, question in SUMMED.items()}
    with protected.transaction() as connection:
        everybody = {name: connection.execute(question.encode()).fetchone() for name, question in SUMMED.items()}
        connection.execute("select ehrdb.purge_patients(array(select generate_series(11, 20)::bigint))")
        ours = {name: connection.execute(question.encode()).fetchone() for name, question in SUMMED.items()}
    assert seen == ours
    assert [name for name in SUMMED if everybody[name] == seen[name]] == []


def test_a_small_count_is_shown_and_is_of_the_readers_own(protected: Database, analyst: Database) -> None:
    """Who has record-level access is shown every count (docs/security.md); nobody is shown one of others."""
    question = "select patients from ehr.search_concepts(%s)"
    for words, ours, everybodys in (("SNOMED/late", 1, 2), ("SNOMED/111", 0, 1), ("SNOMED/11", 1, 1)):
        for database, count in ((analyst, ours), (protected, everybodys)):
            with database.transaction() as connection:
                row = connection.execute(question, [words]).fetchone()
            assert (row[0] if row else 0) == count, words


def test_every_function_about_patients_is_asked_above(connection: Connection) -> None:
    names = {
        name
        for (name,) in connection.execute(
            "select distinct proname from pg_proc where pronamespace = 'ehr'::regnamespace and provolatile <> 'v'"
        )
    }
    asked = {key.split()[0] for questions in (ASKED, UNKNOWN, SUMMED) for key in questions}
    assert names - asked == {"model_card", "fhir_patient"}  # tell of a head, and of a number: of nobody


def test_who_may_see_nobody_sees_nobody(protected: Database, analyst: Database) -> None:
    with protected.transaction() as connection:
        connection.execute("delete from site.access")
    with analyst.transaction() as connection:
        assert connection.execute("select count(*) from ehr.patient").fetchone() == (0,)
        assert connection.execute("select count(*) from ehr.event").fetchone() == (0,)


def test_it_can_be_taken_back(protected: Database, analyst: Database) -> None:
    with protected.transaction() as connection:
        connection.execute("select ehr.unprotect()")
    upgrade(protected)
    with analyst.transaction() as connection:
        assert connection.execute("select count(*) from ehr.patient").fetchone() == (20,)


def test_a_site_that_forgets_a_grant_is_told(database: Database, reader: str) -> None:
    fill(database, reader)
    with database.transaction() as connection:
        connection.execute("revoke select on site.visible from ehr_analyst")
    with pytest.raises(psycopg.Error) as caught, database.transaction() as connection:
        connection.execute("select ehr.protect('site.visible')")
    assert caught.value.sqlstate == "EH010"
    assert "grant select on site.visible to ehr_analyst" in str(caught.value.diag.message_hint)


def test_a_function_in_a_readers_query_is_shown_no_row_of_others(protected: Database, analyst: Database) -> None:
    """In any table and view that a reader reaches, the site's own among them, however cheap the function says it is."""
    with protected.transaction() as connection:
        connection.execute("insert into site.access select 'somebody', p from generate_series(11, 20) p")
    told: set[str] = set()
    with analyst.transaction() as connection:
        connection.add_notice_handler(lambda notice: told.add(str(notice.message_primary)))
        connection.execute(
            "create function pg_temp.tell(bigint) returns boolean language plpgsql cost 0.0000001"
            " as $$ begin raise notice '%', $1; return true; end $$"
        )
        places = connection.execute(
            "select c.oid::regclass::text from pg_class c join pg_attribute a on a.attrelid = c.oid"
            " where c.relnamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace, 'site'::regnamespace)"
            "   and a.attname = 'patient_id' and c.relkind in ('r', 'p', 'v')"
            "   and has_column_privilege(c.oid, a.attnum, 'select')"
        ).fetchall()
        assert "site.visible" in {place for (place,) in places}
        for (place,) in places:
            told.clear()
            connection.execute(_of(place) + b" where pg_temp.tell(patient_id)")
            assert told <= {str(patient) for patient in OURS}, place
    assert len(places) > 12


@pytest.mark.parametrize(
    ("mapping", "advice"),
    [
        ("create view site.own as select patient_id from site.visible", "alter view site.own set (security_barrier);"),
        ("create table site.own (patient_id bigint)", "Name a view that asks for current_user"),
    ],
)
def test_what_leaks_or_tells_nobody_apart_is_refused(
    database: Database, reader: str, mapping: str, advice: str
) -> None:
    fill(database, reader)
    with database.transaction() as connection:
        connection.execute(mapping.encode())
        connection.execute("grant select on site.own to ehr_analyst")
    with pytest.raises(psycopg.Error) as caught, database.transaction() as connection:
        connection.execute("select ehr.protect('site.own')")
    assert caught.value.sqlstate == "EH010"
    assert advice in str(caught.value.diag.message_hint)


def test_a_view_that_was_replaced_by_one_that_leaks_is_found(protected: Database, tmp_path: Path) -> None:
    with protected.transaction() as connection:
        connection.execute(
            "create or replace view site.visible as select patient_id from site.access where reader = current_user"
        )
    (found,) = [f for f in examine(Settings(database_url=protected.url, home=tmp_path)) if f.check == "protection"]
    assert (found.status, found.advice) == ("fault", 'alter view "site"."visible" set (security_barrier);')


OPENED = {
    "alter table ehrdb.event disable row level security": "table event has no row-level security",
    "drop policy visible on ehrdb.label": "table label has no row-level security",
    "create table ehrdb.new_table (patient_id bigint)": "table new_table has no row-level security",
    "alter table ehrdb.patient_embedding_1 disable row level security": "table patient_embedding_1 is a partition that"
    " shows everything to who may read it",
}


@pytest.mark.parametrize("opening", OPENED)
def test_a_table_that_was_opened_is_found_and_closed_by_an_upgrade(
    protected: Database, tmp_path: Path, opening: str
) -> None:
    with protected.transaction() as connection:
        connection.execute(opening.encode())
        assert len(unprotected(connection)) == 1
    (found,) = [f for f in examine(Settings(database_url=protected.url, home=tmp_path)) if f.check == "protection"]
    assert (found.found, found.advice) == (OPENED[opening], "select ehrdb.protect_tables();")
    upgrade(protected)
    with protected.transaction() as connection:
        assert unprotected(connection) == []


def test_another_policy_that_adds_to_what_is_seen_is_found(protected: Database, tmp_path: Path) -> None:
    with protected.transaction() as connection:
        connection.execute("create policy everybody on ehrdb.label using (true)")
        connection.execute("create policy few on ehrdb.label as restrictive using (patient_id < 100)")
    (found,) = [f for f in examine(Settings(database_url=protected.url, home=tmp_path)) if f.check == "protection"]
    assert (found.status, found.advice) == ("fault", "drop policy everybody on ehrdb.label;")


def test_a_view_that_has_another_name_now_leaves_no_new_table_open(protected: Database, tmp_path: Path) -> None:
    with protected.transaction() as connection:
        connection.execute("alter view site.visible rename to seen")
        connection.execute("create table ehrdb.new_table (patient_id bigint)")
    found = [f.found for f in examine(Settings(database_url=protected.url, home=tmp_path)) if f.check == "protection"]
    assert any("has another name now" in what for what in found)
    with pytest.raises(psycopg.Error, match="not there under that name"):
        upgrade(protected)
    with protected.transaction() as connection:
        connection.execute("select ehr.protect('site.seen')")
    upgrade(protected)
    with protected.transaction() as connection:
        assert unprotected(connection) == []


def test_a_reader_in_a_long_transaction_holds_up_nobody_else(protected: Database, analyst: Database) -> None:
    with protected.transaction() as connection:
        connection.execute("alter function ehr.unprotect() set lock_timeout = '100ms'")
    with analyst.transaction() as idle:
        idle.execute("select count(*) from ehr.patient")
        with pytest.raises(psycopg.Error) as caught, protected.transaction() as connection:
            connection.execute("select ehr.unprotect()")
    assert caught.value.sqlstate == "EH012"
    assert "pg_stat_activity" in str(caught.value.diag.message_hint)


def test_the_owner_refreshes_as_before(protected: Database) -> None:
    with protected.transaction() as connection:
        encoder = registry.find(connection, None)
        connection.execute("delete from ehrdb.embedding_job")
    assert refresh(protected, encoder, FakeEncoder).embedded == 2


def test_an_upgrade_and_a_dump_keep_it(
    protected: Database, analyst: Database, server_url: str, owner_url: str, tmp_path: Path
) -> None:
    assert upgrade(protected, force=True) is True
    with protected.transaction() as connection:
        assert unprotected(connection) == []
    file = str(tmp_path / "dump")
    subprocess.run(
        [
            client("pg_dump", protected),
            "--format=custom",
            *("--schema=ehr", "--schema=ehrdb", "--schema=site"),
            f"--file={file}",
            protected.url,
        ],
        check=True,
        capture_output=True,
    )
    with created_database(server_url, owner_url, f"ehrdb_restored_{os.getpid()}") as restored:
        bootstrap(server_url, restored)
        done = subprocess.run(
            [client("pg_restore", restored), "--exit-on-error", f"--dbname={restored.url}", file],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        with restored.transaction() as connection:
            assert unprotected(connection) == []
        with psycopg.connect(same_database(analyst.url, restored)) as connection:
            assert {p for (p,) in connection.execute("select patient_id from ehr.patient")} == OURS


# What a reader may read under no policy: it holds no patient. A table that is not here is to be thought about.
ABOUT_NOBODY = {
    "codes and texts": (
        "unit concept concept_parent concept_text concept_category code_map format excluded_vocabulary visit_section"
        " aggregated_concept aggregated_code aggregated_unit aggregated_name"
    ),
    "encoders, tasks, versions": "prompt encoder encoder_part encoder_file task head head_count schema_state migration",
    "counts of everybody, as docs/security.md says": "load_report concept_frequency concept_onset concept_onset_change"
    " figure refresh_run verification head_month evaluation",
}


def test_what_stands_under_no_policy_is_about_nobody(protected: Database) -> None:
    with protected.transaction() as connection:
        found = {
            name
            for (name,) in connection.execute(
                "select c.relname from pg_class c"
                " where c.relnamespace = 'ehrdb'::regnamespace and c.relkind in ('r', 'p')"
                "   and has_any_column_privilege('ehr_analyst', c.oid, 'select')"
                "   and not exists (select from pg_policy p where p.polrelid = c.oid)"
            )
        }
    assert found == {name for names in ABOUT_NOBODY.values() for name in names.split()}


def test_who_is_hidden_is_told_apart_from_who_is_not_there_by_no_message(
    protected: Database, analyst: Database
) -> None:
    for name, question in UNKNOWN.items():
        told = []
        for patient in ("11", "404"):
            with pytest.raises(psycopg.Error) as caught, analyst.transaction() as connection:
                connection.execute(question.replace("11", patient).encode())
            diagnosis = caught.value.diag
            said = (diagnosis.message_primary, diagnosis.message_detail, diagnosis.message_hint)
            told.append([str(part).replace(patient, "N") for part in said])
        assert told[0] == told[1], name


# Questions that a patient whom one may not see, or who is not there, is put into: {p}, among others or alone.
ASKED_WITH = {
    "nearest_patients": "select * from ehr.nearest_patients(1, 5, array[2, {p}])",
    "nearest_patients of nobody": "select * from ehr.nearest_patients(1, 5, array[{p}])",
    "nearest_patients to itself": "select * from ehr.nearest_patients({p}, 3, array[{p}], '2020-01-12 08:00')",
    "predict as of": "select ehr.predict('death', {p}, '2020-01-12 08:00')",
    "predict_cohort": "select * from ehr.predict_cohort('death', array[{p}])",
    "predict_cohort as of": "select * from ehr.predict_cohort('death', array[2, {p}], '2020-01-12 08:00')",
    "survival": "select * from ehr.survival('death', array[{p}])",
    "match_cohort": "select * from ehr.match_cohort(array[1, {p}])",
    "match_cohort among": "select * from ehr.match_cohort(array[1], array[{p}])",
    "centroid": "select ehr.centroid(array[{p}])",
    "cohort_balance": "select * from ehr.cohort_balance(array[1, {p}], array[2])",
    "duplicate_patients": "select * from ehr.duplicate_patients(-1, array[1, {p}])",
    "outlying_patients": "select * from ehr.outlying_patients(5, array[1, {p}])",
    "patients_by_words": "select * from ehr.patients_by_words('text', 5, array[{p}])",
    "nearest_outcomes": "select * from ehr.nearest_outcomes(1, 'death', '2020-01-12 08:00', cohort => array[2, {p}])",
    "timelines": "select * from ehr.timelines(array[{p}], array[timestamp 'infinity'])",
    "current_timelines": "select * from ehr.current_timelines('list_recent', array[{p}])",
    "risk_history": "select * from ehr.risk_history('death', {p}, array[timestamp '2020-01-12 08:00'])",
    "risk_reasons": "select * from ehr.risk_reasons('death', {p}, '2020-01-12 08:00')",
    "similarity_by_part": "select * from ehr.similarity_by_part({p}, {p})",
} | {
    name: question.format(pairs=f"array[{{p}}], {_AT}", moment=_AT).replace(" where reason is null", "")
    for name, question in OF_PAIRS.items()
}


def test_who_is_hidden_is_told_apart_from_who_is_not_there_by_no_answer(protected: Database, analyst: Database) -> None:
    with psycopg.connect(analyst.url, autocommit=True) as connection:
        for name, question in ASKED_WITH.items():
            assert answer(connection, question, 13) == answer(connection, question, 404), name


def answer(connection: Connection, question: str, patient: int) -> list[str]:
    """The rows, or what the error says, with N for the patient."""
    try:
        found = [str(row) for row in connection.execute(question.format(p=patient).encode())]
    except psycopg.Error as error:
        diagnosis = error.diag
        found = [str((error.sqlstate, diagnosis.message_primary, diagnosis.message_detail, diagnosis.message_hint))]
    return [re.sub(rf"(?<![\d.]){patient}(?![\d.])", "N", row) for row in found]
