"""Every option and argument of every command with values that nobody should give: a message and a true exit status.

The commands and what they take are read from the command line itself, so that new ones are tried as they come.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from ehrdb.cli import COMMANDS, imported
from ehrdb.config import Settings
from ehrdb.database import Database, open_database
from ehrdb.embedding import refresh
from ehrdb.testing import FakeEncoder
from tests.cli.conftest import Here
from tests.filled import filled_once
from tests.records import add_encoder, write_patients

HOSTILE = (
    *("", "qx[bold]zv", "[/x]", "\x1b[2J\u202e\x07", "'; drop table ehrdb.patient; --", '%s{0}\\"', "\udcff"),
    *("NaN", "+inf", "-1", "2147483648", "9" * 30, "9999-12-31", "x" * 5000),
)
# What a command must be told beside the hostile value: by the argument's name, or by the option that needs another.
SANE = {
    **{"directory": "records", "file": "file", "path": "file", "patient_id": "1", "patient_ids": "404"},
    **{"task": "death", "tasks": "death", "name": "fake", "model": "nowhere", "parts": "fake"},
    **{"text": "words", "cases": "select 1", "arguments": None, "to": "out"},
}
NEEDS = {
    "refresh --cohort": ["--as-of=2020-01-12"],
    "nearest --candidates-at": ["--at=select 1, now()::timestamp"],
    "match --candidates-at": ["--at=select 1, now()::timestamp"],
    "match --at": ["--candidates-at=select 1, now()::timestamp"],
    "worker --metrics-host": ["--metrics-port=9"],
    "task add --predicates": ["--aces=file"],
    "task add --outcome": ["--target=1"],
    "task add --target": ["--outcome=1"],
    "evaluate --embeddings": ["--labels=file"],
    "evaluate --labels": ["--embeddings=file"],
    "evaluate --patients": ["--embeddings=file", "--labels=file"],
    "evaluate --count-codes": ["--baseline=counts"],
    "evaluate --count-days": ["--baseline=counts"],
    "serve --name": ["--port=8480"],
}
# What takes more or less any text, or a day in the far future: that the command ends well is right.
TAKES = {
    *("sql bootstrap --owner", "sql bootstrap --database", "sql bootstrap --schema", "psql arguments"),
    *("export meds directory", "export meds --visit-column", "export labels directory"),
    *("match --out", "map --out", "worker --poll", "timeline --as-of", "nearest --as-of", "match --as-of"),
    *("serve --name", "serve --user-header", "map --sample", "purge patient_ids", "refresh --as-of"),
}


def leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The commands below one, with their whole names."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for below, inner in command.commands.items():
        yield from leaves(f"{name} {below}", inner)


LEAVES = dict(leaf for name in COMMANDS for leaf in leaves(name, imported(name)))


def trials(name: str) -> Iterator[tuple[str, list[str]]]:
    """The place of a hostile value, and the words of the command."""
    taken = [parameter for parameter in LEAVES[name].params if not getattr(parameter, "is_flag", False)]
    flags = [f"--{flag}" for flag in ("json", "yes") if any(p.name == flag for p in LEAVES[name].params)]
    for place in taken:
        for value in HOSTILE:
            options, arguments = [*flags, *NEEDS.get(f"{name} {place.opts[0]}", [])], []
            for each in taken:
                is_argument = each.param_type_name == "argument"
                chosen = value if each is place else SANE[each.name] if each.required or is_argument else None
                if chosen is not None and is_argument:
                    arguments.append(chosen)
                elif chosen is not None:
                    options.append(f"{each.opts[0]}={chosen}")
            yield f"{name} {place.opts[0]}", [*name.split(), *options, "--", *arguments]
    for value in () if name == "psql" else ("--qx[bold]zv", "-\x1b[2J", "--json=[/x]", "--help=[/x]"):
        yield f"{name} {value}", [*name.split(), value]


def wrong(place: str, tried: list[str], result: subprocess.CompletedProcess[str]) -> str:
    """What is wrong with how a command ended; empty if nothing is."""
    shown = result.stdout + result.stderr
    if re.search("[\x00-\x08\x0e-\x1f\x7f]|\u202e|qxzv", shown):
        return "obeyed, or read as markup"
    if result.returncode == 0:
        return "" if place in TAKES else "ended well"
    if result.returncode != 2 or not result.stderr.startswith("error: "):
        return f"status {result.returncode}: {result.stderr[:200]}"
    if "--json" in tried:
        try:
            return "" if set(json.loads(result.stdout)) == {"error", "hint"} else "other JSON"
        except ValueError:
            return f"no JSON: {result.stdout[:100]}"
    return ""


@pytest.fixture
def quick(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs for ever, or is another program, ends at once; thousands of commands ask over one pool."""

    def opened(settings: Settings) -> AbstractContextManager[Database]:
        is_pool = (settings.database_url, settings.site_tables) == (database.url, {})
        return nullcontext(database) if is_pool else open_database(settings)

    for place in ("ehrdb.cli.common", "ehrdb.client", "ehrdb.doctor"):
        monkeypatch.setattr(f"{place}.open_database", opened)
    for name in ("ehrdb.cli.refresh.work", "uvicorn.run"):
        monkeypatch.setattr(name, lambda *_, **__: None)
    monkeypatch.setattr("os.spawnve", lambda *_: 0)


def fill(database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 3)
        connection.execute(
            "insert into ehrdb.task values ('death', 'own', 'binary', 'a task', '{\"shape\": \"imported\"}')"
        )
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)


@pytest.fixture(scope="session")
def template(server_url: str, owner_url: str, template: str) -> Iterator[str]:
    """Three embedded patients and a task."""
    with filled_once(server_url, owner_url, template, "hostile", fill) as name:
        yield name


@pytest.fixture
def folder(tmp_path: Path) -> None:
    """One to load."""
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "person.csv").write_text("person_id,gender_concept_id,year_of_birth\n")


@pytest.mark.usefixtures("quick", "folder")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_hostile_value_ends_in_a_message_and_a_true_exit_status(
    database: Database, ehrdb: Here, command: str
) -> None:
    found = []
    for name in (name for name in LEAVES if name.split()[0] == command):
        for place, tried in trials(name):
            try:
                what = wrong(place, tried, ehrdb(*tried))
            except Exception as error:
                what = f"a traceback: {error!r:.200}"
            if what:
                found.append(f"{[word[:60] for word in tried]}: {what}")
    assert not found, "\n".join(found)
    with database.transaction() as connection:
        assert connection.execute("select count(*) from ehrdb.patient").fetchone() == (3,)


@pytest.mark.usefixtures("quick")
def test_hostile_settings_end_in_a_message_too(ehrdb: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who take no option have settings; the demo, which would make a database, the database's alone."""
    names = ("DATABASE_URL", "HOME", "ENCODER", "PROVIDERS", "THREADS", "ENDPOINTS", "ENDPOINT_KEY", "CONFIG")
    for name in names:
        for value in HOSTILE[1:]:
            with monkeypatch.context() as changed:
                changed.setenv(f"EHRDB_{name}", value)
                for command in ("doctor", "status", "index check", *(["demo"] if name == "DATABASE_URL" else [])):
                    result = ehrdb(*command.split(), *([] if command == "demo" else ["--json"]))
                    assert result.returncode in (0, 1, 2), (name, value, command, result)
                    assert result.returncode == 2 or json.loads(result.stdout) is not None
                    assert not re.search("[\x00-\x08\x0e-\x1f\x7f]|\u202e|qxzv", result.stdout + result.stderr)
