"""The audit of SQL functions: switched on, each says in the server's log who asks what about whom; and pgaudit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from ehrdb.config import Settings
from ehrdb.database import Connection, Database
from ehrdb.doctor import examine
from ehrdb.schema import upgrade
from tests.conftest import run, same_database
from tests.servers.test_protect import ASKED, SUMMED, UNKNOWN, fill
from tests.servers.test_rights import login

NOTE = re.compile(r"ehrdb audit: function=(\w+) login=(\w+) role=(\w+) patients=(\S+) cohort=(\S+)")
TELLS_OF_NOBODY = {"model_card", "fhir_patient"}


def quote_statements(server_url: str, database: Database, level: str) -> None:
    """How bad a message must be for the server's log to quote the statement beside it; for sessions from here on."""
    name = make_url(database.url).database
    run(server_url, f"alter database {name} set log_min_error_statement = {level}")
    database.engine.dispose()


@pytest.fixture
def audited(server_url: str, database: Database, analyst: Database) -> Database:
    """Twenty patients, and the switch on."""
    fill(database, str(make_url(analyst.url).username))
    quote_statements(server_url, database, "fatal")
    with database.transaction() as connection:
        connection.execute("select ehr.audit_functions(true)")
    return database


@contextmanager
def notes(connection: Connection) -> Iterator[list[tuple[str, ...]]]:
    """What goes to the server's log for this session from here on: its client is told the same."""
    found: list[tuple[str, ...]] = []

    def keep(notice: psycopg.errors.Diagnostic) -> None:
        if (note := NOTE.fullmatch(notice.message_primary or "")) is not None:
            found.append(note.groups())

    connection.execute("set local client_min_messages = log")
    connection.add_notice_handler(keep)
    yield found
    connection.remove_notice_handler(keep)


def test_every_function_about_patients_notes_itself_whatever_it_answers(audited: Database, analyst: Database) -> None:
    for questions in (ASKED, UNKNOWN, SUMMED):
        for name, question in questions.items():
            function = name.split()[0]
            if function in ("embedding_status", "task"):
                continue  # views
            with analyst.transaction() as connection, notes(connection) as found:
                try:
                    connection.execute("savepoint asked")
                    connection.execute(question.encode())
                except psycopg.Error:
                    connection.execute("rollback to savepoint asked")
            assert function in {noted for noted, *_ in found}, name


def test_every_function_of_ehr_that_reads_is_one_that_notes(connection: Connection) -> None:
    rows = connection.execute(
        "select proname, coalesce(pg_get_function_sqlbody(oid), prosrc) from pg_proc"
        " where pronamespace = 'ehr'::regnamespace and prokind = 'f'"
        "   and (provolatile <> 'v' or proname in ('nearest_to_text', 'search_patients'))"
    ).fetchall()
    quiet = {name for name, body in rows if f"ehrdb.note('{name}'" not in body}
    by_another = {"predict_cohort"}  # of one task asks that of many
    assert quiet - by_another == TELLS_OF_NOBODY
    assert len(rows) > 35


def test_who_asks_what_about_whom_is_noted(audited: Database, analyst: Database) -> None:
    reader = str(make_url(analyst.url).username)
    with analyst.transaction() as connection, notes(connection) as found:
        connection.execute("select from ehr.nearest_patients(1, 5, array[2, 3, 4])")
        connection.execute("select from ehr.predict_cohort('death', array[2, 3])")
        connection.execute("select from ehr.timelines('[0:1]={4,5}', array_fill('2020-01-01'::timestamp, array[2]))")
    assert ("nearest_patients", reader, reader, "{1}", "{2,3,4}") in found
    assert ("predict_cohort", reader, reader, "-", "{2,3}") in found
    assert ("timelines", reader, reader, "{4,5}", "-") in found


def test_of_many_the_first_hundred_are_noted_and_how_many_more(audited: Database, analyst: Database) -> None:
    with analyst.transaction() as connection, notes(connection) as found:
        for n in (100, 101, 120):
            many = [i % 20 + 1 for i in range(n)]
            connection.execute("select count(*) from ehr.predict_cohort('death', %s::bigint[])", [many])
    assert [cohort.partition("}")[2] for *_, cohort in found] == ["", "+1", "+20"]
    assert all(cohort.partition("}")[0].count(",") == 99 for *_, cohort in found)


def test_both_groups_of_a_balance_are_noted(audited: Database, analyst: Database) -> None:
    with analyst.transaction() as connection, notes(connection) as found:
        connection.execute("select from ehr.cohort_balance(array[1, 2], array[3, 4])")
        connection.execute(
            "select from ehr.cohort_balance_at(array[1, 2], array_fill('2020-01-05'::timestamp, array[2]), array[3, 4],"
            " array_fill('2020-01-05'::timestamp, array[2]))"
        )
    assert {(name, cohort) for name, _, _, _, cohort in found} >= {
        ("cohort_balance", "{1,2,3,4}"),
        ("cohort_balance_at", "{1,2,3,4}"),
    }


def test_it_is_refused_where_the_log_would_quote_the_words_of_a_search(
    server_url: str, audited: Database, tmp_path: Path
) -> None:
    quote_statements(server_url, audited, "error")
    with audited.transaction() as connection:
        connection.execute("select ehr.audit_functions(false)")
        with pytest.raises(psycopg.Error, match="log_min_error_statement is error") as caught:
            connection.execute("select ehr.audit_functions(true)")
    assert caught.value.sqlstate == "EH010"


def test_the_doctor_finds_a_log_that_quotes_questions(server_url: str, audited: Database, tmp_path: Path) -> None:
    def found() -> list[tuple[str, str]]:
        findings = examine(Settings(database_url=audited.url, home=tmp_path))
        return [(f.status, f.found) for f in findings if f.check == "audit"]

    assert found() == []
    quote_statements(server_url, audited, "error")
    assert found() == [("fault", "log_min_error_statement is error: the log quotes questions in words")]


def test_nothing_is_noted_while_it_is_off(audited: Database, analyst: Database) -> None:
    with audited.transaction() as connection:
        connection.execute("select ehr.audit_functions(false)")
    with analyst.transaction() as connection, notes(connection) as found:
        connection.execute("select ehr.timeline(1)")
    assert found == []


def test_the_server_s_log_keeps_it_though_the_question_is_rolled_back(
    server_url: str, audited: Database, analyst: Database
) -> None:
    mark = len_of_log(server_url)
    with psycopg.connect(analyst.url) as connection:
        connection.execute("begin read only")
        connection.execute("select ehr.timeline(17)")
        connection.rollback()
    with psycopg.connect(server_url) as superuser:
        row = superuser.execute("select setting from pg_settings where name = 'log_min_messages'").fetchone()
        assert row == ("warning",)  # the default, under which LOG is logged
    assert "ehrdb audit: function=timeline" in server_log(server_url, mark)


def len_of_log(server_url: str) -> int:
    """How long the server's log is by now, in bytes."""
    with psycopg.connect(server_url) as superuser:
        row = superuser.execute("select size from pg_stat_file(coalesce(pg_current_logfile(), 'log'), true)").fetchone()
    if row is None or row[0] is None:
        pytest.skip("this server's log is not among its data")
    return int(row[0])


def server_log(server_url: str, start: int) -> str:
    """The server's log from a place on, as its superuser reads it."""
    with psycopg.connect(server_url) as superuser:
        row = superuser.execute(
            "select pg_read_file(coalesce(pg_current_logfile(), 'log'), %s, 10000000)", [start]
        ).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(
    "evasion",
    [
        "set log_min_messages = panic",
        "set ehrdb.audit_functions = off",
        "select ehr.audit_functions(false)",
        "update ehrdb.schema_state set notes_functions = false",
        "create function pg_temp.note(text, bigint[], bigint[]) returns boolean language sql as 'select true'",
        "set client_min_messages = error",
        "set search_path = pg_temp, public",
        "set role none",
    ],
)
def test_no_reader_switches_it_off(server_url: str, audited: Database, analyst: Database, evasion: str) -> None:
    mark = len_of_log(server_url)
    with psycopg.connect(analyst.url, autocommit=True) as connection:
        with suppress(psycopg.errors.InsufficientPrivilege):
            connection.execute(evasion.encode())
        connection.execute("select ehr.timeline(17)")
    assert "function=timeline" in server_log(server_url, mark)


def test_it_is_for_the_owner_and_stays_through_an_upgrade(server_url: str, audited: Database) -> None:
    for duty in ("analyst", "worker"):
        with (
            login(server_url, audited, f"in role ehr_{duty}") as somebody,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            somebody.transaction() as connection,
        ):
            connection.execute("select ehr.audit_functions(false)")
    upgrade(audited, force=True)
    with audited.transaction() as connection:
        assert connection.execute("select notes_functions from ehrdb.schema_state").fetchone() == (True,)
        with pytest.raises(psycopg.Error, match="neither"):
            connection.execute("select ehr.audit_functions(null)")


# Instead of it, or beside it


PGAUDIT = re.compile(r"AUDIT: ((?:SESSION|OBJECT),.*)", re.DOTALL)


@pytest.fixture
def pgaudited(server_url: str, database: Database, analyst: Database) -> Iterator[Connection]:
    """A reader's session whose client is told what pgaudit logs: settings are given to the role, by a superuser."""
    with psycopg.connect(server_url, autocommit=True) as superuser:
        (libraries,) = superuser.execute("show shared_preload_libraries").fetchone() or ("",)
        if "pgaudit" not in libraries:
            pytest.skip("this server has no pgaudit: shared_preload_libraries = 'pgaudit'")
    reader = make_url(analyst.url).username
    fill(database, str(reader))
    book = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    settings = dict(re.findall(r"^    (pgaudit\.\w+) = (.+)$", book, re.MULTILINE))
    assert set(settings) == {"pgaudit.log", "pgaudit.log_relation", "pgaudit.log_parameter"}
    for name, value in {**settings, "pgaudit.log_client": "on", "client_min_messages": "log"}.items():
        run(server_url, f"alter role {reader} set {name} = {value}")
    with psycopg.connect(analyst.url, autocommit=True) as connection:
        yield connection
    run(server_url, f"alter role {reader} reset all")


def told(connection: Connection, question: str, *values: object) -> list[str]:
    """What pgaudit logs of one question."""
    found: list[str] = []

    def keep(notice: psycopg.errors.Diagnostic) -> None:
        if (entry := PGAUDIT.fullmatch(notice.message_primary or "")) is not None:
            found.append(entry.group(1))

    connection.add_notice_handler(keep)
    connection.execute(question.encode(), values or None)
    connection.remove_notice_handler(keep)
    return found


def test_by_the_book_pgaudit_logs_the_question_with_whom_it_is_about(pgaudited: Connection) -> None:
    first, *beneath = told(pgaudited, "select ehr.timeline(7)")
    assert re.fullmatch(r'SESSION,\d+,1,READ,SELECT,,,"?select ehr.timeline\(7\)"?,<none>', first)
    assert any(",ehrdb.event," in entry for entry in beneath)
    asked = told(pgaudited, "select count(*) from ehr.event where patient_id = %s", 8)
    assert any(entry.endswith(",8") and "ehr.event" in entry for entry in asked)


def test_an_auditor_s_grants_log_who_reads_which_table(
    server_url: str, database: Database, pgaudited: Connection
) -> None:
    reader, url = pgaudited.info.user, f"{pgaudited.info.dsn} password={pgaudited.info.password}"
    pgaudited.close()
    book = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    (grants,) = re.findall(r"^    (grant select on ehrdb\.\S.* to auditor;)$", book, re.MULTILINE)
    here = same_database(server_url, database)
    run(server_url, "create role auditor nologin")
    try:
        run(here, grants)
        run(server_url, f"alter role {reader} set pgaudit.log = none")
        run(server_url, f"alter role {reader} set pgaudit.role = auditor")
        with psycopg.connect(url, autocommit=True) as connection:
            entries = told(connection, "select ehr.timeline(7)")
            assert {entry.split(",")[0] for entry in entries} == {"OBJECT"}
            assert any(",TABLE,ehrdb.event," in entry for entry in entries)
            assert told(connection, "select name from ehr.format") == []
    finally:
        run(here, "drop owned by auditor")
        run(server_url, "drop role auditor")


def test_no_reader_switches_pgaudit_off(pgaudited: Connection) -> None:
    for evasion in ("set pgaudit.log = none", "set pgaudit.log_client = off", "set pgaudit.role = nobody"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            pgaudited.execute(evasion.encode())
    assert told(pgaudited, "select ehr.timeline(7)")
