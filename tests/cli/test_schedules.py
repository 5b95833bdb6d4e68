"""The schedules of docs/operations.md, tried as written."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from ehrdb.database import Database
from ehrdb.embedding import refresh
from ehrdb.testing import FakeEncoder
from tests.records import add_encoder, write_patients

CHECKOUT = Path(__file__).parents[2]
DOCUMENT = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.fixture
def refreshed(database: Database) -> Database:
    """Five patients with vectors: the next refresh has nothing to embed, and needs no model."""
    with database.transaction() as connection:
        write_patients(connection, 5)
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    return database


@pytest.mark.parametrize("schedule", ["*/15 * * * *", "30 3 * * *"])
def test_the_crontab_lines_run_in_crons_bare_environment(refreshed: Database, tmp_path: Path, schedule: str) -> None:
    (line,) = re.findall(rf"^    {re.escape(schedule)} +(.*)$", DOCUMENT, re.MULTILINE)
    log, environment = tmp_path / "refresh.log", tmp_path / "ehrdb.env"
    environment.write_text(f"EHRDB_DATABASE_URL='{refreshed.url}'\nEHRDB_HOME='{tmp_path}'\n")
    line = (
        line.replace("/etc/ehrdb.env", str(environment))
        .replace("/opt/ehrdb/bin/ehrdb", f"{sys.executable} -m ehrdb")
        .replace("/var/lib/ehrdb/refresh.log", str(log))
    )
    bare = ["env", "-i", f"HOME={tmp_path}", "LOGNAME=ehrdb", "PATH=/usr/bin:/bin", "SHELL=/bin/sh"]
    ended = subprocess.run([*bare, "/bin/sh", "-c", line], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert '"failed": 0' in (log.read_text() if log.exists() else ended.stdout), ended.stderr
    assert ended.returncode == 0 or "the encoder has no heads" in ended.stderr  # `predict` ran, and had nothing to keep


def test_the_systemd_units_are_valid(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    units = []
    for name, body in unit_files().items():
        units.append(tmp_path / name)
        units[-1].write_text(body.replace("/opt/ehrdb/bin/ehrdb", "/bin/true"))
    assert [unit.name for unit in units] == ["ehrdb-refresh.service", "ehrdb-refresh.timer", "ehrdb-worker.service"]
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)], capture_output=True, text=True, check=False
    )
    assert [line for line in verified.stderr.splitlines() if str(tmp_path) in line] == []


def unit_files() -> dict[str, str]:
    """The document's unit files: each begins with its path as a comment."""
    files: dict[str, str] = {}
    name = None
    for line in DOCUMENT.splitlines():
        if started := re.fullmatch(r"    # /etc/systemd/system/(\S+)", line):
            name = started[1]
            files[name] = ""
        elif name and (line.startswith("    ") or not line):
            files[name] += line[4:] + "\n"
        else:
            name = None
    return files


@pytest.mark.slow
def test_pg_cron_asks_for_a_refresh(refreshed: Database, server_url: str) -> None:
    (statement,) = re.findall(r"^    (select cron\.schedule\(.*\);)$", DOCUMENT, re.MULTILINE)
    with psycopg.connect(server_url, autocommit=True) as home:
        if not home.execute("select 1 from pg_extension where extname = 'pg_cron'").fetchone():
            pytest.skip("needs a server with pg_cron (EHRDB_TEST_DATABASE_URL), its extension in that database")
        home.execute(statement.replace("0 2 * * *", "1 second").encode())
        # cron.schedule runs its job in pg_cron's own database; this test's is another.
        name = refreshed.url.rpartition("/")[2].partition("?")[0]
        home.execute("update cron.job set database = %s where jobname = 'ehrdb-refresh'", [name])
        try:
            wait_for_marks(refreshed)
        finally:
            home.execute("select cron.unschedule('ehrdb-refresh')")


def wait_for_marks(database: Database) -> None:
    for _ in range(100):
        with database.transaction() as connection:
            if connection.execute("select 1 from ehrdb.changed_patient").fetchone():
                return
        time.sleep(0.1)
    raise AssertionError("nothing was asked for in ten seconds")
