"""An assistant by the SDK's own client: over standard input and output once, otherwise in this process."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import mcp
import pytest
from psycopg.conninfo import conninfo_to_dict

from ehrdb.assistant import MOST_ROWS, make_server
from ehrdb.config import Settings
from ehrdb.database import Database
from ehrdb.embedding import refresh
from ehrdb.errors import ConfigError, NotAllowed
from ehrdb.testing import FakeEncoder
from tests.conftest import created_database, created_role, run
from tests.filled import filled_once
from tests.records import Record, add_encoder, add_head, day, write, write_patients
from tests.search.test_words import answered

ROLE = f"ehrdb_assistant_{os.getpid()}"
SECRET = "SITE/secret-finding"


def fill(database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 12)
        write(connection, [Record(p, day(25), SECRET, text="said in secret") for p in (1, 2)])
        connection.execute(
            "insert into ehrdb.task values ('sepsis', 'site', 'binary', '', '{\"shape\": \"imported\"}')"
        )
        encoder = add_encoder(connection)
        add_head(connection, "sepsis", encoder)
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        connection.execute("create view public.visible with (security_barrier) as select n::bigint as patient_id"
                           " from generate_series(1, 10) n")  # fmt: skip
        connection.execute("grant select on public.visible to ehr_analyst")
        connection.execute("select ehr.protect('public.visible')")


@pytest.fixture(scope="module")
def hospital(server_url: str, owner_url: str, template: str) -> Iterator[str]:
    """Twelve embedded patients of whom the assistant's role sees ten; a head."""
    with filled_once(server_url, owner_url, template, "assisted", fill) as name:
        yield name


@pytest.fixture
def filled(server_url: str, owner_url: str, hospital: str) -> Iterator[Database]:
    """A copy of that, and the assistant's role."""
    with created_role(server_url, ROLE, "in role ehr_analyst"):
        run(server_url, f"grant {ROLE} to {conninfo_to_dict(owner_url)['user']}")
        with created_database(server_url, owner_url, f"{hospital}_copy", hospital) as database:
            yield database


def asked(database: Database, questions: Callable[[Any], Awaitable[None]], *, texts: bool = False) -> None:
    """A session with the server that `ehrdb mcp` runs."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("EHRDB_MCP_TEXTS", str(texts))
        settings = Settings(mcp_role=ROLE)
    _in_session(make_server(database, settings), questions)


def asked_of_the_command(database: Database, questions: Callable[[Any], Awaitable[None]]) -> None:
    """A session with `ehrdb mcp` as an assistant has it, in a process of its own."""
    environment = {**os.environ, "EHRDB_DATABASE_URL": database.url, "EHRDB_MCP_ROLE": ROLE}
    _in_session(
        mcp.StdioServerParameters(command=sys.executable, args=["-m", "ehrdb", "mcp"], env=environment), questions
    )


def _in_session(server: Any, questions: Callable[[Any], Awaitable[None]]) -> None:
    async def session() -> None:
        async with mcp.Client(server) as client:
            await questions(client)

    asyncio.run(session())


async def answer(client: Any, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    found = result.structured_content
    return found["result"] if set(found) == {"result"} else found


async def refusal(client: Any, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content[0].text)


def test_an_assistant_asks_under_its_role_and_is_told_ids_and_figures_alone(filled: Database) -> None:
    async def questions(client: Any) -> None:
        tools = (await client.list_tools()).tools
        assert all(tool.annotations.read_only_hint and tool.description for tool in tools)
        status = await answer(client, "status")
        assert (status["tasks"][0]["task"], status["texts_allowed"]) == ("sepsis", False)
        near = await answer(client, "nearest", patient_id=1, k=50)
        assert {row["patient_id"] for row in near} == set(range(2, 11))
        assert len(await answer(client, "predict", task="sepsis", patient_ids=[1, 2, 12])) == 2
        assert await answer(client, "patients_with_code", code=SECRET) == [{"patient_id": 1}, {"patient_id": 2}]
        explained = await answer(client, "explain", patient_a=1, patient_b=2)
        assert (explained["counts"]["shared"], explained["concepts"]) == (1, None)
        told = await answer(client, "timeline", patient_id=1)
        assert told["text"] is None
        assert "secret" not in json.dumps([status, near, explained, told])

    asked_of_the_command(filled, questions)


def test_texts_are_told_where_the_administrator_allows_them(filled: Database) -> None:
    async def questions(client: Any) -> None:
        assert SECRET in (await answer(client, "timeline", patient_id=1))["text"]
        assert (await answer(client, "explain", patient_a=1, patient_b=2))["concepts"][0]["code"] == SECRET

    asked(filled, questions, texts=True)


def test_what_cannot_be_answered_is_said_with_what_to_do(filled: Database) -> None:
    async def questions(client: Any) -> None:
        assert "12" in await refusal(client, "timeline", patient_id=12)  # hidden is unknown
        assert "ehrdb worker" in await refusal(client, "find_patients", description="heart failure")
        assert str(MOST_ROWS) in await refusal(client, "nearest", patient_id=1, k=1000)
        assert "2020-06-30" in await refusal(client, "nearest", patient_id=1, as_of="yesterday")
        assert "ehr.task" in await refusal(client, "predict", task="luck", patient_ids=[1])
        assert "search_concepts" in await refusal(client, "patients_with_code", code="SNOMED/no-such")
        for tool, who in (
            ("nearest", {"patient_id": 1}),
            ("timeline", {"patient_id": 1}),
            ("explain", {"patient_a": 1, "patient_b": 2}),
        ):
            assert "later moment" in await refusal(client, tool, **who, as_of="1900-01-01")
        assert "neither a task nor a code" in await refusal(
            client, "outcomes", patient_id=1, outcome="luck", as_of="2020-02-28"
        )
        assert "no record by" in await refusal(client, "outcomes", patient_id=1, outcome="sepsis", as_of="2020-01-02")
        assert str(MOST_ROWS) in await refusal(client, "predict", task="sepsis", patient_ids=[])

    asked(filled, questions)


def test_a_role_without_rights_and_a_database_without_an_encoder_are_said(database: Database, server_url: str) -> None:
    async def without_encoder(client: Any) -> None:
        assert "ehrdb encoder" in await refusal(client, "nearest", patient_id=1)
        assert "ehrdb" in " ".join((await answer(client, "status"))["faults"])

    async def without_rights(client: Any) -> None:
        for tool, asking in (("status", {}), ("nearest", {"patient_id": 1}), ("timeline", {"patient_id": 1})):
            assert "rights" in await refusal(client, tool, **asking)

    with database.transaction() as connection:
        write_patients(connection, 2)
    login = conninfo_to_dict(database.url)["user"]
    for grant, questions in (("in role ehr_analyst", without_encoder), ("", without_rights)):
        with created_role(server_url, ROLE, grant):
            run(server_url, f"grant {ROLE} to {login}")
            asked(database, questions)


def test_words_that_no_concept_holds_are_said_to_mean_little(filled: Database) -> None:
    async def questions(client: Any) -> None:
        for words, is_known in (("Herzschwäche", False), ("secret finding", True)):
            found = await answer(client, "find_patients", description=words)
            assert len(found["patients"]) == 10
            assert (found["note"] is None) == is_known

    with answered(filled):
        asked(filled, questions)


def test_whose_ids_were_answered_is_in_the_audit(filled: Database) -> None:
    async def questions(client: Any) -> None:
        await answer(client, "nearest", patient_id=3, k=2)

    asked(filled, questions)
    with filled.transaction() as connection:
        noted = connection.execute("select what, patients from ehr.audit order by at").fetchall()
    assert noted[0] == (f"nearest as {ROLE}", [3])
    assert noted[1][0] == f"mcp: nearest answered as {ROLE}"
    assert len(noted[1][1]) == 2


def test_it_is_off_unless_a_role_is_named_that_the_login_may_take(filled: Database) -> None:
    with pytest.raises(ConfigError, match="assistants are off") as caught:
        make_server(filled, Settings(mcp_role=None))
    assert "EHRDB_MCP_ROLE" in (caught.value.hint or "")
    with pytest.raises(NotAllowed):
        make_server(filled, Settings(mcp_role="nobody_of_this_name"))
