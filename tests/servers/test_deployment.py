"""What runs in containers, tried without them: the database's set-up, the wrapper, and that everything named exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

from ehrdb.bootstrap import bootstrap_sql
from ehrdb.database import Database, closing_pool
from ehrdb.schema import upgrade
from tests.conftest import created_database, run, same_database
from tests.servers.test_ordinary_owner import client

CHECKOUT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
INIT = (CHECKOUT / "docker" / "init.sql").read_text(encoding="utf-8")


def test_the_databases_set_up_holds_what_bootstrap_prints() -> None:
    assert bootstrap_sql("ehrdb", "ehrdb", "public") in INIT


@pytest.fixture
def set_up(server_url: str, tmp_path: Path) -> Iterator[Database]:
    """A database set up by docker/init.sql, under names of the test's own and without pg_cron, as its role sees it."""
    name, secret = f"ehrdb_compose_{os.getpid()}", tmp_path / "secret"
    secret.write_text("a'quoted'password\n")
    script = INIT[: INIT.index("-- Every night")].replace("/run/secrets/ehrdb_password", str(secret))
    script = script.replace('"ehrdb"', f'"{name}"').replace("create role ehrdb ", f"create role {name} ")
    with created_database(server_url, server_url, name) as database:
        superuser = same_database(server_url, database)
        subprocess.run([client("psql", database), "--no-psqlrc", superuser], input=script, text=True, check=True)
        url = make_url(superuser).set(username=name, password="a'quoted'password")
        with closing_pool(Database(url.render_as_string(hide_password=False))) as owned:
            yield owned
        run(superuser, f"drop owned by {name} cascade")
        run(server_url, f"alter database {name} owner to current_user; drop role {name}")


def test_the_role_of_the_set_up_installs_ehrdb(set_up: Database) -> None:
    assert upgrade(set_up)
    with set_up.transaction() as connection:
        row = connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
    assert row == (False,)


def wrapped(tmp_path: Path, password_file: Path) -> subprocess.CompletedProcess[str]:
    """docker/ehrdb.sh, with a program in ehrdb's place that shows what it gets."""
    script = (CHECKOUT / "docker" / "ehrdb.sh").read_text(encoding="utf-8")
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "$PGPASSWORD|$*"\n')
    program.chmod(0o755)
    script = script.replace("/opt/ehrdb/venv/bin/ehrdb", str(program))
    environment = {"PATH": os.environ["PATH"], "EHRDB_PASSWORD_FILE": str(password_file)}
    return subprocess.run(
        ["/bin/sh", "-c", script, "ehrdb", "status", "--check"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wrapper_reads_the_password_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("pass word\n")
    assert wrapped(tmp_path, tmp_path / "secret").stdout == "pass word|status --check\n"


def test_the_wrapper_ends_where_the_file_is_missing(tmp_path: Path) -> None:
    ended = wrapped(tmp_path, tmp_path / "nowhere")
    assert (ended.returncode, ended.stdout) == (2, "")


def test_nothing_is_published_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_password_stands_in_an_environment() -> None:
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            assert "PASSWORD" not in name or name.endswith("_FILE")
            assert "://" not in value or make_url(value).password is None


def test_images_and_extras_that_are_named_exist() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\w+)", DOCKERFILE, re.MULTILINE))
    assert {service["build"]["target"] for service in SERVICES.values()} == targets
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {extra for found in re.findall(r"'\.\[(.*?)\]'", DOCKERFILE) for extra in found.split(",")}
    assert extras <= set(project["optional-dependencies"])
    for source in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE):
        assert all((CHECKOUT / name).exists() for name in source.split())


def ehrdb_commands() -> set[tuple[str, ...]]:
    """Every `ehrdb ...` of compose file and Dockerfile, as words."""
    lists = [
        service[key] for service in SERVICES.values() for key in ("command",) if isinstance(service.get(key), list)
    ]
    lists += [service["healthcheck"]["test"][1:] for service in SERVICES.values() if "healthcheck" in service]
    scripts = re.findall(r'^CMD \["sh", "-c", "(.*)"\]', DOCKERFILE, re.MULTILINE)
    lists += [shlex.split(part) for script in scripts for part in script.split("&&")]
    return {tuple(words) for words in lists if words[0] == "ehrdb"}


def test_every_command_of_the_containers_exists() -> None:
    commands = ehrdb_commands()
    assert {words[1] for words in commands} == {"worker", "status", "upgrade", "encoder"}
    for words in commands:
        options = [word for word in words[1:] if word.startswith("--")]
        names = [word for word in words[1:3] if not word.startswith("--")]
        ended = subprocess.run(
            [sys.executable, "-m", "ehrdb", *names, "--help"], capture_output=True, text=True, check=True
        )
        assert all(option in ended.stdout for option in options)
