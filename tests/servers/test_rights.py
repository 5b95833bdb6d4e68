"""Who may do what: three roles, rights by name, nothing hidden that is taken for gone, names that nobody can shadow."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from ehrdb import cohorts
from ehrdb.config import Settings
from ehrdb.database import Connection, Database, closing_pool
from ehrdb.doctor import examine
from ehrdb.embedding import Queue, index_dates, refresh, registry
from ehrdb.embedding.index import ensure_index
from ehrdb.errors import DatabaseError, NotAllowed
from ehrdb.events.merge import LoadOptions, load
from ehrdb.events.purge import purge
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder
from tests.conftest import created_role, run, same_database
from tests.records import Record, add_encoder, day, write, write_patients

WRITES = re.compile(
    r"\b(insert into|delete from|update|merge into|lock table|alter table|create table|drop table)\b", re.I
)


@pytest.fixture
def filled(database: Database) -> Database:
    """Twelve embedded patients, half of whom policies will hide from readers."""
    with database.transaction() as connection:
        write_patients(connection, 12)
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    return database


@contextmanager
def login(server_url: str, database: Database, options: str) -> Iterator[Database]:
    """The test's database under a login of its own."""
    name = f"ehrdb_login_{os.getpid()}"
    with (
        created_role(server_url, name, options) as url,
        closing_pool(Database(same_database(url, database))) as same,
    ):
        try:
            yield same
        finally:
            same.engine.dispose()
            run(same_database(server_url, database), f"drop owned by {name} cascade")


def vectors(database: Database) -> int:
    with database.transaction() as connection:
        row = connection.execute("select count(*) from ehrdb.patient_embedding").fetchone()
    assert row is not None
    return int(row[0])


def hide(connection: Connection, reader: str) -> None:
    """Row-level security by hand: this role sees patients up to 6 alone."""
    for table in ("patient", "event", "embedding_point", "patient_embedding"):
        connection.execute(f"alter table ehrdb.{table} enable row level security".encode())
        connection.execute(f"create policy few on ehrdb.{table} to {reader} using (patient_id <= 6)".encode())


# Not visible is not gone


def test_every_function_that_writes_raises_rather_than_takes_what_it_does_not_see_for_gone(
    connection: Connection,
) -> None:
    rows = connection.execute(
        "select oid::regprocedure::text, coalesce(pg_get_function_sqlbody(oid), prosrc), coalesce(proconfig, '{}')"
        "  from pg_proc where pronamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)"
        "   and provolatile = 'v' and prokind = 'f'"
    ).fetchall()
    writing = [(name, settings) for name, body, settings in rows if WRITES.search(body) or "perform" in body]
    assert len(writing) > 25
    assert [name for name, settings in writing if "row_security=off" not in settings] == []


def test_a_role_under_row_level_security_can_take_nothing_away(
    server_url: str, filled: Database, tmp_path: Path
) -> None:
    with login(server_url, filled, "in role ehr_worker") as worker:
        with filled.transaction() as connection:
            hide(connection, "ehr_worker")
            connection.execute("select ehr.request_refresh()")
            encoder = registry.find(connection, None)
        with pytest.raises(DatabaseError, match=r"row-level security hides rows of .*event.* from") as caught:
            refresh(worker, encoder, FakeEncoder)
        assert "bypassrls" in str(caught.value.hint)
        for function in ("plan_refresh()", "drop_unused(1)", "recount_concepts()", "keep_newest_current(1)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), worker.transaction() as connection:
                connection.execute(f"select ehrdb.{function}".encode())
        with pytest.raises(DatabaseError, match="hides rows"):
            purge(worker, [1])
        with pytest.raises(DatabaseError, match="hides rows"):
            Queue(worker, encoder, "test").claim(1)
        found = [f for f in examine(Settings(database_url=worker.url, home=tmp_path)) if f.check == "visibility"]
        assert [f.status for f in found] == ["warning"]
    assert vectors(filled) == 12


@pytest.mark.usefixtures("ordinary_owner")
def test_an_owner_under_forced_row_level_security_is_refused_too(filled: Database) -> None:
    with filled.transaction() as connection:
        hide(connection, "current_user")
        connection.execute("alter table ehrdb.event force row level security")
        encoder = registry.find(connection, None)
    with pytest.raises(DatabaseError, match="hides rows of event from") as caught:
        refresh(filled, encoder, FakeEncoder)
    assert 'alter table "ehrdb"."event" no force row level security' in str(caught.value.hint)
    with pytest.raises(DatabaseError, match="hides rows"):
        load(filled, "test", lambda connection: [], LoadOptions())
    with pytest.raises(psycopg.errors.InsufficientPrivilege), filled.transaction() as connection:
        connection.execute("select ehrdb.recount_concepts()")
    with filled.transaction() as connection:
        connection.execute("alter table ehrdb.event no force row level security")
    assert vectors(filled) == 12
    assert refresh(filled, encoder, FakeEncoder).failed == 0


# Rights by name


def test_every_role_has_the_rights_it_should_and_no_other(filled: Database) -> None:
    with filled.transaction() as connection:
        assert connection.execute("select * from ehrdb.grant_fault").fetchall() == []


def test_what_holds_patients_is_readable_through_the_parent_alone(filled: Database) -> None:
    """Every partition, of whatever table, and every statistic of one."""
    with filled.transaction() as connection:
        connection.execute("analyze ehrdb.patient_embedding")
        rows = connection.execute(
            "select c.relname, c.relrowsecurity, has_table_privilege('ehr_analyst', c.oid, 'select'),"
            "       has_any_column_privilege('ehr_analyst', c.oid, 'select')"
            "  from pg_class c where c.relnamespace = 'ehrdb'::regnamespace and c.relispartition and c.relkind = 'r'"
        ).fetchall()
        assert len(rows) == 2
        assert {row[1:] for row in rows} == {(True, False, False)}


def test_a_reader_reaches_no_table_that_is_not_needed(filled: Database, analyst: Database) -> None:
    with filled.transaction() as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "select oid::regclass::text from pg_class"
                " where relnamespace = 'ehrdb'::regnamespace and relkind in ('r', 'p')"
            )
        ]
    readable = set()
    for table in tables:
        try:
            with analyst.transaction() as connection:
                connection.execute(b"table " + table.encode() + b" limit 1")
            readable.add(table.removeprefix("ehrdb."))
        except psycopg.errors.InsufficientPrivilege:
            pass
    closed = {"embedding_job", "changed_patient", "radiology_report", "search_request", "snapshot", "source", "turn"}
    assert not readable & closed
    assert not [table for table in readable if re.search(r"_\d+$", table)]
    with analyst.transaction() as connection:
        seen = connection.execute("select tablename from pg_stats where schemaname = 'ehrdb'").fetchall()
    assert {table for (table,) in seen} <= readable


def test_a_right_too_many_is_found_and_taken_back(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("grant select on ehrdb.radiology_report to ehr_analyst")
        connection.execute("grant update (birth_time) on ehrdb.patient to ehr_analyst")
        assert connection.execute("select role, fault, what from ehrdb.grant_fault").fetchall() == [
            ("ehr_analyst", "should not have", "select on ehrdb.radiology_report"),
            ("ehr_analyst", "should not have", "update (birth_time) on ehrdb.patient"),
        ]
    upgrade(database)
    with database.transaction() as connection:
        row = connection.execute("select has_any_column_privilege('ehr_analyst', 'ehrdb.patient', 'update')").fetchone()
        assert row == (False,)
        assert connection.execute("select * from ehrdb.grant_fault").fetchall() == []


@pytest.mark.parametrize(
    "right",
    [
        "select on ehrdb.event",
        "select (fingerprint) on ehrdb.patient",
        "select on ehr.label",
        "usage on schema ehrdb",
        "execute on routine ehrdb.ask_worker(text,text)",
        "select on ehrdb.speech_1",
    ],
)
def test_what_everybody_was_given_is_found_and_taken_back(database: Database, tmp_path: Path, right: str) -> None:
    with database.transaction() as connection:
        connection.execute(f"grant {right} to public".encode())
        found = connection.execute("select fault, what from ehrdb.grant_fault where role = 'public'").fetchall()
        assert found == [("should not have", right)]
    told = [f.found for f in examine(Settings(database_url=database.url, home=tmp_path)) if f.check == "roles"]
    assert f"public should not have: {right}" in told
    notices: list[str] = []
    upgrade(database, tell=notices.append)
    assert (f"taken back from public: {right}" in notices) is not right.startswith("execute")
    with database.transaction() as connection:
        assert connection.execute("select * from ehrdb.grant_fault").fetchall() == []


def test_a_right_that_another_gave_is_told_and_stays(server_url: str, database: Database) -> None:
    with login(server_url, database, "") as giver:
        name = make_url(giver.url).username
        with database.transaction() as connection:
            connection.execute(f"grant usage on schema ehrdb to {name}".encode())
            connection.execute(f"grant select on ehrdb.radiology_report to {name} with grant option".encode())
        with giver.transaction() as connection:
            connection.execute("grant select on ehrdb.radiology_report to ehr_analyst")
        notices: list[str] = []
        upgrade(database, tell=notices.append)
        assert "still wrong, for who granted it to mend: ehr_analyst and select on ehrdb.radiology_report" in notices


def test_a_site_s_table_that_is_anothers_view_is_not_read_with_the_owners_rights(
    server_url: str, filled: Database, analyst: Database
) -> None:
    """What a view calls, it calls with the rights of who reads it."""
    with login(server_url, filled, "in role ehr_analyst") as somebody:
        name = make_url(somebody.url).username
        with filled.transaction() as connection:
            connection.execute(f"create schema results; grant all on schema results to {name}".encode())
        with somebody.transaction() as connection:
            trap = (
                "create function results.trap() returns bigint language plpgsql as"
                f" $$ begin grant select on ehrdb.audit to {name}; return 1;"
                " exception when others then return 1; end $$"
            )
            connection.execute(trap.encode())
            connection.execute(
                "create view results.cohort as select 7 as cohort_definition_id, results.trap() as subject_id,"
                " date '2020-01-01' as cohort_start_date, date '2020-01-02' as cohort_end_date"
            )
        for question in ("select ehr.cohort(7)", "select * from ehr.cohort_moments(7)"):
            with (
                pytest.raises(psycopg.Error, match="runs its owner's code") as caught,
                filled.transaction() as connection,
            ):
                connection.execute(question.encode())
            assert caught.value.sqlstate == "EH010"
        with somebody.transaction() as connection:
            assert connection.execute("select ehr.cohort(7)").fetchone() == ([1],)
            row = connection.execute("select has_table_privilege('ehrdb.audit', 'select')").fetchone()
        assert row == (False,)
        with filled.transaction() as connection:
            connection.execute("drop view results.cohort")
            connection.execute(
                "create view results.cohort as select 7 as cohort_definition_id, 2 as subject_id,"
                " date '2020-01-01' as cohort_start_date, date '2020-01-02' as cohort_end_date"
            )
            assert connection.execute("select ehr.cohort(7)").fetchone() == ([2],)


PLAIN = (
    "create table results.cohort as select 7 as cohort_definition_id, 1 as subject_id, date '2020-01-01' as"
    " cohort_start_date, date '2020-01-02' as cohort_end_date"
)
TRAPS = {
    "a cast": (
        "create type results.id as (n integer)",
        "create function results.trap(results.id) returns bigint language plpgsql as"
        " $$ begin perform results.take(); return 1; end $$",
        "create cast (results.id as bigint) with function results.trap(results.id)",
        "alter table results.cohort alter subject_id type results.id using row(1)::results.id",
    ),
    "an index": (
        "create function results.trap(integer) returns boolean language plpgsql immutable as"
        " $$ begin perform results.take(); return true; end $$",
        "create index on results.cohort (subject_id) where results.trap(1)",
    ),
    "a check of a child": (
        "create function results.trap(integer) returns boolean language plpgsql immutable as"
        " $$ begin perform results.take(); return true; end $$",
        "create table results.child (check (results.trap(1))) inherits (results.cohort)",
    ),
    "a policy": (
        "create function results.trap() returns boolean language plpgsql as"
        " $$ begin perform results.take(); return true; end $$",
        "alter table results.cohort enable row level security",
        "create policy trap on results.cohort using (results.trap())",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_site_s_table_whose_reading_runs_anothers_code_is_not_read_with_the_owners_rights(
    server_url: str, filled: Database, analyst: Database, trap: str
) -> None:
    with login(server_url, filled, "in role ehr_analyst") as somebody:
        name = make_url(somebody.url).username
        with filled.transaction() as connection:
            connection.execute(f"create schema results; grant all on schema results to {name}".encode())
        with somebody.transaction() as connection:
            connection.execute(PLAIN)
        with somebody.transaction() as connection:
            connection.execute(f"grant select on results.cohort to {make_url(filled.url).username}".encode())
        with filled.transaction() as connection:
            assert connection.execute("select ehr.cohort(7)").fetchone() == ([1],)
        with somebody.transaction() as connection:
            take = (
                "create function results.take() returns void language plpgsql as"
                f" $$ begin grant select on ehrdb.audit to {name}; exception when others then null; end $$"
            )
            connection.execute(take.encode())
            for statement in TRAPS[trap]:
                connection.execute(statement.encode())
        with suppress(psycopg.Error), filled.transaction() as connection:
            connection.execute("select ehr.cohort(7)")
        with filled.transaction() as connection:
            row = connection.execute("select has_table_privilege(%s, 'ehrdb.audit', 'select')", [name]).fetchone()
        assert row == (False,)


@pytest.fixture
def mallory(server_url: str, filled: Database) -> Iterator[Database]:
    """Somebody who may make tables of their own, and ehrdb's owner's rights if their code ever gets them."""
    with login(server_url, filled, "") as somebody:
        name = make_url(somebody.url).username
        with filled.transaction() as connection:
            connection.execute(f"create schema results; grant all on schema results to {name}, ehr_analyst".encode())
        with somebody.transaction() as connection:
            take = (
                "create function results.take() returns bigint language plpgsql as $$ begin"
                f" perform set_config('role', 'none', true); grant usage on schema ehrdb to {name};"
                f" grant select on ehrdb.audit to {name}; return 1; exception when others then return 1; end $$"
            )
            connection.execute(take.encode())
            connection.execute(PLAIN)
            connection.execute("grant select, insert on results.cohort to public")
        yield somebody


def has_taken(filled: Database, mallory: Database) -> bool:
    with filled.transaction() as connection:
        name = make_url(mallory.url).username
        row = connection.execute("select has_table_privilege(%s, 'ehrdb.audit', 'select')", [name]).fetchone()
    return row == (True,)


VIEW = (
    "create view results.traps as select 7 as cohort_definition_id, results.take() as subject_id, date '2020-01-01' as"
    " cohort_start_date, date '2020-01-02' as cohort_end_date; grant select on results.traps to public"
)


def test_anothers_code_gets_no_rights_that_the_login_could_take(
    server_url: str, filled: Database, analyst: Database, mallory: Database
) -> None:
    """Under a reader's role it would take back the login's."""
    with mallory.transaction() as connection:
        connection.execute(VIEW)
    reader, owner = (make_url(database.url).username for database in (analyst, filled))
    run(server_url, f"grant {reader} to {owner}")
    acting = Database(filled.url, str(reader), {"ehrdb.cohort_table": "results.traps"})
    with closing_pool(acting), pytest.raises(psycopg.Error) as caught, acting.transaction() as connection:
        connection.execute("select ehr.cohort(7)")
    assert caught.value.sqlstate == "EH010"
    assert not has_taken(filled, mallory)


def test_a_cohort_is_not_kept_where_anothers_trigger_runs(filled: Database, mallory: Database) -> None:
    with filled.transaction() as connection:
        cohorts.keep(connection, 8, [1, 2])  # a plain table of another's is written to
    with mallory.transaction() as connection:
        connection.execute(
            "create function results.trap() returns trigger language plpgsql as"
            " $$ begin perform results.take(); return new; end $$;"
            "create trigger trap before insert on results.cohort for each row execute function results.trap()"
        )
    with (
        pytest.raises(psycopg.Error, match=r"writing to results\.cohort runs") as caught,
        filled.transaction() as connection,
    ):
        cohorts.keep(connection, 9, [1, 2])
    assert caught.value.sqlstate == "EH010"
    assert not has_taken(filled, mallory)


@pytest.mark.parametrize(
    "ask",
    [
        lambda connection: cohorts.resolve(connection, cohorts.OmopCohort(7, "results.traps")),
        lambda connection: index_dates.resolve(connection, cohorts.OmopCohort(7, "results.traps")),
        lambda connection: index_dates.resolve(connection, "results.traps"),
    ],
)
def test_a_table_that_is_named_is_looked_at_as_well(
    filled: Database, mallory: Database, ask: Callable[[Connection], object]
) -> None:
    with mallory.transaction() as connection:
        connection.execute(VIEW)
    with pytest.raises(psycopg.Error, match="runs its owner's code") as caught, filled.transaction() as connection:
        ask(connection)
    assert caught.value.sqlstate == "EH010"


# The worker and the administrator


def test_a_worker_embeds_and_reads_neither_names_nor_labels(server_url: str, filled: Database) -> None:
    with filled.transaction() as connection:
        write(connection, [Record(3, day(28), "SNOMED/new"), Record(13, day(2), "SNOMED/first")])
        encoder = registry.find(connection, None)
    with login(server_url, filled, "in role ehr_worker") as worker:
        done = refresh(worker, encoder, FakeEncoder)
        assert (done.embedded, done.failed) == (2, 0)
        assert vectors(filled) == 13
        for forbidden in (
            "select death_time from ehrdb.patient",
            "select split from ehrdb.patient",
            "select sex from ehr.patient",
            "select value from ehrdb.label",
            "select * from ehrdb.patient_prediction",
            "delete from ehrdb.event",
            "create table ehrdb.mine (x integer)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), worker.transaction() as connection:
                connection.execute(forbidden.encode())
        with worker.transaction() as connection:
            connection.execute("grant select on ehrdb.event to public")  # PostgreSQL warns, and gives nothing
            row = connection.execute("select has_table_privilege('public', 'ehrdb.event', 'select')").fetchone()
            assert row == (False,)


def test_a_worker_embeds_where_an_index_is_missing_and_says_who_builds_it(
    server_url: str, filled: Database, tmp_path: Path
) -> None:
    with filled.transaction() as connection:
        connection.execute("create or replace function ehrdb.exact_search_bound() returns integer return 5")
        write(connection, [Record(3, day(28), "SNOMED/new")])
        encoder = registry.find(connection, None)
    with login(server_url, filled, "in role ehr_worker") as worker:
        done = refresh(worker, encoder, FakeEncoder)
        assert (done.embedded, done.unindexed) == (1, 1)
        with pytest.raises(NotAllowed, match="may not build the index of fake") as caught:
            ensure_index(worker, encoder, rebuild=True)
        assert str(caught.value.hint).endswith("ehrdb index rebuild --encoder fake")
    found = [f for f in examine(Settings(database_url=filled.url, home=tmp_path)) if "no search index" in f.found]
    assert [f.advice for f in found] == ["ehrdb index rebuild --encoder fake"]
    assert ensure_index(filled, encoder)
    with login(server_url, filled, "in role ehr_worker") as worker:
        assert ensure_index(worker, encoder) is False


@pytest.mark.usefixtures("ordinary_owner")
def test_an_administrator_acts_as_the_owner(server_url: str, filled: Database) -> None:
    owner = make_url(filled.url).username
    with login(server_url, filled, "in role ehr_admin") as admin:
        assert upgrade(admin, force=True) is True
        with admin.transaction() as connection:
            add_encoder(connection, "second")
        assert purge(admin, [1])["event"] == (3, 0)
        with admin.transaction() as connection:
            owners = connection.execute(
                "select distinct pg_get_userbyid(relowner) from pg_class where relnamespace = 'ehrdb'::regnamespace"
            ).fetchall()
    assert owners == [(owner,)]


@pytest.mark.parametrize("name", ["none", " NONE "])
def test_none_is_no_role(filled: Database, name: str) -> None:
    """To PostgreSQL it is the login itself, with all its rights."""
    with pytest.raises(NotAllowed, match="none is no role"), filled.acting_as(name).transaction():
        pass


@pytest.mark.parametrize("name", ["al\0ice", "x" * 64])
def test_a_name_that_postgresql_would_cut_is_no_role_s(filled: Database, name: str) -> None:
    with pytest.raises(NotAllowed, match="no role has such a name"), filled.acting_as(name).transaction():
        pass


@pytest.mark.usefixtures("ordinary_owner")
def test_roles_may_have_names_of_their_own(server_url: str, database: Database) -> None:
    roles = [f"ward7_{duty}" for duty in ("analyst", "worker", "admin")]
    notices: list[str] = []
    upgrade(database, roles="ward7", tell=notices.append)
    assert "create role ward7_analyst nologin;" in notices[0]
    for role in roles:
        run(server_url, f"create role {role} nologin")
    try:
        upgrade(database)
        with database.transaction() as connection:
            row = connection.execute(
                "select has_table_privilege('ward7_analyst', 'ehr.patient', 'select'),"
                "       has_table_privilege('ward7_worker', 'ehrdb.embedding_job', 'update')"
            ).fetchone()
            assert row == (True, True)
            assert connection.execute("select * from ehrdb.grant_fault").fetchall() == []
            former = (
                "select count(*) from pg_class c where c.relnamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)"
                "   and c.relkind in ('r', 'p', 'v') and (has_any_column_privilege('ehr_analyst', c.oid, 'select')"
                "                                         or has_any_column_privilege('ehr_worker', c.oid, 'select'))"
            )
            assert connection.execute(former.encode()).fetchone() == (0,)
        with login(server_url, database, "") as stranger:
            (found,) = [f for f in examine(Settings(database_url=stranger.url)) if f.check == "reading"]
        assert found.advice.startswith('grant "ward7_analyst" to ')
    finally:
        for role in roles:
            run(same_database(server_url, database), f"drop owned by {role}")
            run(server_url, f"drop role {role}")


# Names that nobody can shadow


def test_a_function_in_the_way_is_not_called(server_url: str, filled: Database) -> None:
    trap = "create function public.{}({}) returns {} language plpgsql as $$ begin raise 'shadowed'; end $$"
    for name, arguments, result in (
        ("cardinality", "bigint[]", "integer"),
        ("format", "text, bigint", "text"),
        ("length", 'text collate "C"', "integer"),
        ("abs", "bigint", "bigint"),
    ):
        run(same_database(server_url, filled), trap.format(name, arguments.split(" collate")[0], result))
    run(
        same_database(server_url, filled),
        "create function public.shadowed(public.halfvec, public.vector) returns float8 language plpgsql as"
        " $$ begin raise 'shadowed'; end $$;"
        "create operator public.<=> (leftarg = public.halfvec, rightarg = public.vector, function = public.shadowed)",
    )
    with filled.transaction() as connection:
        encoder = registry.find(connection, None)
        write(connection, [Record(3, day(28), "SNOMED/new")])
    assert refresh(filled, encoder, FakeEncoder).embedded == 1
    upgrade(filled, force=True)
    with psycopg.connect(filled.url) as plain:
        for question in (
            "select count(*) from ehr.nearest_patients(1, 5, array[1, 2, 3])",
            "select count(*) from ehr.match_cohort(array[1, 2])",
            "select ehr.timeline(1)",
            "select count(*) from ehr.current_timeline",
        ):
            plain.execute(question.encode())


def test_the_doctor_warns_where_everybody_may_create_beside_the_extension(
    server_url: str, database: Database, tmp_path: Path
) -> None:
    run(same_database(server_url, database), "grant create on schema public to public")
    (found,) = [f for f in examine(Settings(database_url=database.url, home=tmp_path)) if f.check == "strangers"]
    assert (found.status, found.advice) == ("warning", 'revoke create on schema "public" from public;')


# Nothing that a reader can stop


def test_a_reader_can_hold_up_nothing(filled: Database, analyst: Database) -> None:
    with psycopg.connect(analyst.url) as reader:
        for key in ("ehrdb.plan_refresh", "ehrdb.ensure_index"):
            reader.execute("select pg_advisory_lock(hashtext(%s))", [key])
        for statement in (
            "lock table ehrdb.turn in share update exclusive mode",
            "select from ehrdb.turn for update",
            "select from ehrdb.encoder for update",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
                reader.execute(statement.encode())
        with filled.transaction() as connection:
            connection.execute("set local statement_timeout = '30s'")
            connection.execute("select ehrdb.plan_refresh()")
            encoder = registry.find(connection, None)
        assert ensure_index(filled, encoder) is False
        assert purge(filled, [1])["event"] == (3, 0)


def test_a_worker_waits_its_turn_and_takes_none_away(server_url: str, filled: Database) -> None:
    with login(server_url, filled, "in role ehr_worker") as worker:
        for statement in ("update ehrdb.turn set what = 'nobody''s'", "delete from ehrdb.turn"):
            with pytest.raises(psycopg.Error) as caught, worker.transaction() as connection:
                connection.execute(statement.encode())
            assert caught.value.sqlstate in ("EH013", "42501")
        with worker.transaction() as connection:
            assert connection.execute("select from ehrdb.turn where what = 'index' for update").rowcount == 1


def test_whoever_waits_too_long_is_told_for_whom(filled: Database) -> None:
    with filled.transaction() as connection:
        connection.execute("alter function ehrdb.wait_to_plan() set lock_timeout = '100ms'")
    with filled.transaction() as holder:
        holder.execute("select ehrdb.wait_to_plan()")
        pid = holder.info.backend_pid
        with pytest.raises(psycopg.Error) as caught, filled.transaction() as waiting:
            waiting.execute("select ehrdb.plan_refresh()")
    assert caught.value.sqlstate == "EH012"
    assert f"select pg_terminate_backend({pid})" in str(caught.value.diag.message_hint)


# Questions in words


@pytest.fixture
def asked(server_url: str, filled: Database, analyst: Database) -> Iterator[tuple[Connection, Connection]]:
    """A reader's session, and another's; somebody who calls itself a worker is there."""
    with (
        login(server_url, filled, "in role ehr_analyst") as other,
        psycopg.connect(filled.url, application_name="ehrdb worker"),
        psycopg.connect(analyst.url, autocommit=True) as first,
        psycopg.connect(other.url, autocommit=True) as second,
    ):
        yield first, second


def question(connection: Connection, text: str = "heart failure") -> object:
    row = connection.execute("select ehrdb.ask_worker(%s, null)", [text]).fetchone()
    assert row is not None
    return row[0]


def open_questions(database: Database) -> int:
    with database.transaction() as connection:
        return connection.execute("select from ehrdb.search_request").rowcount


def test_nobody_takes_or_withdraws_anothers_question(filled: Database, asked: tuple[Connection, Connection]) -> None:
    mine, theirs = asked
    token = question(mine)
    with filled.transaction() as connection:
        connection.execute("update ehrdb.search_request set embedding = '[1,2,3,4,5,6,7,8]'")
    taken = "select embedding is not null from ehrdb.take_answer(%s)"
    assert theirs.execute(taken, [token]).fetchone() == (False,)
    theirs.execute("select ehrdb.withdraw_request(%s)", [token])
    assert open_questions(filled) == 1
    assert mine.execute(taken, [token]).fetchone() == (True,)
    assert open_questions(filled) == 0


def test_questions_are_bounded_and_go_with_who_asked(filled: Database, asked: tuple[Connection, Connection]) -> None:
    mine, theirs = asked
    with pytest.raises(psycopg.Error, match="has 8001 characters, more than 8000"):
        question(mine, "x" * 8001)
    question(mine)
    question(mine)  # the first was given up
    question(theirs)
    assert open_questions(filled) == 2
    mine.close()
    theirs.execute("select pg_sleep(0.2)")
    question(theirs)
    assert open_questions(filled) == 1


def test_a_user_waits_for_few_answers_at_a_time(filled: Database, analyst: Database) -> None:
    with ExitStack() as stack:
        stack.enter_context(psycopg.connect(filled.url, application_name="ehrdb worker"))
        sessions = [stack.enter_context(psycopg.connect(analyst.url, autocommit=True)) for _ in range(6)]
        for session in sessions[:5]:
            question(session)
        with pytest.raises(psycopg.Error, match="waiting for 5 answers already"):
            question(sessions[5])


def test_nobody_who_speaks_to_no_worker_keeps_the_others_waiting(
    filled: Database, asked: tuple[Connection, Connection]
) -> None:
    """Anybody may call a session a worker, and wait for ever for it to listen."""
    speaker, other = asked
    with filled.transaction() as connection:
        row = connection.execute(
            "select pg_get_functiondef('ehrdb.say_to_worker(text,text,timestamptz)'::regprocedure)"
        ).fetchone()
        assert row is not None
        connection.execute(row[0].replace("interval '10 seconds'", "interval '0.2 seconds'").encode())
    for session in (speaker, other):
        session.execute("set statement_timeout = '20s'")
        with pytest.raises(psycopg.Error) as caught:
            session.execute("select ehrdb.say_to_worker('heart failure', null, 'infinity')")
        assert caught.value.sqlstate == "EH008"


def said_by(connection: Connection) -> int:
    """How far who speaks, and who listens, have come."""
    row = connection.execute("select last_value from ehrdb.speech_turn where is_called").fetchone()
    return int(row[0]) if row else 0


def test_a_worker_that_is_slow_but_listens_hears_all(filled: Database, asked: tuple[Connection, Connection]) -> None:
    """Each part has its time, not all of them together."""
    with filled.transaction() as connection:
        row = connection.execute(
            "select pg_get_functiondef('ehrdb.say_to_worker(text,text,timestamptz)'::regprocedure)"
        ).fetchone()
        assert row is not None
        connection.execute(row[0].replace("interval '10 seconds'", "interval '0.5 seconds'").encode())
    said = threading.Thread(
        target=lambda: asked[0].execute("select ehrdb.say_to_worker(repeat('x', 300), null, 'infinity')")
    )
    said.start()
    with psycopg.connect(filled.url, autocommit=True) as listening:
        while (turn := said_by(listening)) < 12:
            assert said.is_alive()
            if turn % 2:
                listening.execute("select pg_sleep(0.15), setval('ehrdb.speech_turn', %s)", [turn + 1])
    said.join()


def test_what_lends_the_owners_rights_is_for_readers_alone(server_url: str, filled: Database) -> None:
    with (
        login(server_url, filled, "") as stranger,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        stranger.transaction() as connection,
    ):
        connection.execute("select ehrdb.ask_worker('heart failure', null)")
    with filled.transaction() as connection:
        rows = connection.execute(
            "select oid::regprocedure::text, has_function_privilege('public', oid, 'execute') from pg_proc"
            " where prosecdef and pronamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)"
        ).fetchall()
    assert len(rows) == 5
    assert [name for name, is_open in rows if is_open] == []
