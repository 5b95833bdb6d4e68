"""The command line, run as a user runs it: one process a command, one database of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ehrdb.database import Database

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ehrdb(database: Database, tmp_path: Path) -> Command:
    """Run `ehrdb ARGS...` against the test's database."""
    return command({"EHRDB_DATABASE_URL": database.url, "EHRDB_HOME": str(tmp_path / "home")})


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
