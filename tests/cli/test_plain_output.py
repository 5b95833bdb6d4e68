"""Nothing that is not our own literal is read as markup, and no string makes a terminal obey."""

from __future__ import annotations

import io
import json

import pytest
from rich.table import Table

from ehrdb.cli.common import PlainConsole, visible
from ehrdb.database import Database
from tests.cli.conftest import Here
from tests.records import add_encoder, write_patients

HOSTILE = (
    *("[/x]", "[bold]", "[link=file:///]", ":skull:", "\x1b[2J", "\x07", "\u202etxet", "مريض"),
    *("{0}", "%s", "--", "'", '"; drop'),
)


def printed(*things: object) -> str:
    file = io.StringIO()
    PlainConsole(file=file, width=200, force_terminal=True, color_system=None).print(*things)
    return file.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_string_is_printed_as_it_is(text: str) -> None:
    table = Table(text, title=text)
    table.add_row(text)
    for thing in (text, table):
        assert visible(text) in printed(thing)


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert visible("a\x1b[2Jb\u202ec\x9b") == "a\\x1b[2Jb\\u202ec\\x9b"
    assert visible("two\nlines\tمريض") == "two\nlines\tمريض"


def test_hostile_data_is_shown_as_it_is(database: Database, ehrdb: Here) -> None:
    hostile = "[/x][bold]\x1b[2J"
    with database.transaction() as connection:
        connection.execute("insert into ehrdb.patient (patient_id, source, fingerprint) values (1, %s, '')", [hostile])
        connection.execute(
            "insert into ehrdb.task (task, task_group, kind, description, declaration)"
            " values (%s, %s, 'binary', %s, '{\"shape\": \"imported\"}')",
            [hostile] * 3,
        )
        add_encoder(connection, hostile)
    for name in ("status", "doctor", "task list", "encoder list"):
        result = ehrdb(*name.split())
        assert "\x1b[2J" not in result.stdout + result.stderr, name
        assert "[/x][bold]\\x1b" in result.stdout + result.stderr, name


def test_a_failure_is_json_for_programs(ehrdb: Here) -> None:
    result = ehrdb("nearest", "404", "--json")
    assert result.returncode == 2
    assert set(json.loads(result.stdout)) == {"error", "hint"}


@pytest.mark.parametrize(
    "arguments", [["nearest", "--nope"], ["purge"], ["nearest", "x"], ["load", "nope"], ["nope"]], ids=" ".join
)
def test_a_wrong_command_line_is_json_too(ehrdb: Here, arguments: list[str]) -> None:
    result = ehrdb(*arguments, "--json")
    assert result.returncode == 2
    answer = json.loads(result.stdout)
    assert answer["error"] in result.stderr
    assert answer["hint"].endswith("--help")


def test_a_cohort_is_one_statement_and_changes_nothing(ehrdb: Here, database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 3)
        connection.execute("create table public.touched (patient_id bigint)")
        connection.execute(
            "create function public.touch() returns bigint language sql as"
            " 'insert into public.touched values (1) returning patient_id'"
        )
    for query in (
        "select 1) q (c)); insert into public.touched values (1); select array(select c from (select 1",
        "select touch()",
        "select 1; insert into public.touched values (1)",
        "insert into public.touched values (1) returning patient_id",
    ):
        for arguments in (["nearest", "1", "--cohort", query], ["match", query]):
            result = ehrdb(*arguments)
            assert result.returncode == 2
            assert "the cohort is not a query of patient ids" in result.stderr
    with database.transaction() as connection:
        assert connection.execute("select count(*) from public.touched").fetchone() == (0,)
