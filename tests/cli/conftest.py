"""The command line, run as a user runs it: one process a command, or all in this one; a database of the test's own."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from ehrdb.cli import app, main
from ehrdb.cli.common import err, out
from ehrdb.database import Database

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def command(environment: dict[str, str]) -> Command:
    """A function that runs `ehrdb ARGS...` with these settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("EHRDB_")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ehrdb", *arguments],
            env=clean | environment | {"COLUMNS": "200", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@cache
def commands() -> Any:
    """The command line as the parser has it, made once for all that runs in this process."""
    return typer.main.get_command(app)


class Here:
    """Runs `ehrdb ARGS...` in this process: most commands need none of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def asking(self, url: str | None) -> Here:
        """From now on of the database at this URL; None: of the embedded one under the home, if there is one."""
        if url is None:
            self._monkeypatch.delenv("EHRDB_DATABASE_URL")
        else:
            self._monkeypatch.setenv("EHRDB_DATABASE_URL", url)
        return self

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self._monkeypatch.setattr(sys, "argv", ["ehrdb", *arguments])
        self._monkeypatch.setattr(sys, "stdin", io.StringIO())
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = self._capsys.readouterr()
        return subprocess.CompletedProcess(sys.argv, status, captured.out, captured.err)


@pytest.fixture
def ehrdb(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Here]:
    """The command line in this process, on the test's database, in a folder of its own."""
    for name in [name for name in os.environ if name.startswith("EHRDB_")]:
        monkeypatch.delenv(name)
    for name, value in {"DATABASE_URL": database.url, "HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(f"EHRDB_{name}", value)
    for console in (out, err):
        monkeypatch.setattr(console, "width", 200)
    monkeypatch.setattr("ehrdb.cli.app", commands())
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield Here(monkeypatch, capsys)
    for number, handler in handlers.items():
        signal.signal(number, handler)
