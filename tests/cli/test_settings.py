"""Settings: the environment wins over a file, and no database is ever chosen silently."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ehrdb.config import Settings, settings_file
from ehrdb.database import Database
from ehrdb.errors import ConfigError
from tests.cli.conftest import command


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory and empty configuration folders."""
    for name in ("here", "user", "system"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    for name in ("EHRDB_CONFIG", "EHRDB_DATABASE_URL", "EHRDB_HOME", "EHRDB_ENCODER"):
        monkeypatch.delenv(name, raising=False)


def put(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "ehrdb.toml").write_text(text)
    return folder / "ehrdb.toml"


def test_the_first_file_found_counts_here_then_the_users_then_the_systems(tmp_path: Path) -> None:
    system = put(tmp_path / "system" / "ehrdb", "threads = 1")
    assert settings_file() == system
    put(tmp_path / "user" / "ehrdb", "threads = 2")
    assert Settings().threads == 2
    put(tmp_path / "here", "threads = 3")
    assert Settings().threads == 3


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "here", 'threads = 3\nencoder = "a"')
    monkeypatch.setenv("EHRDB_ENCODER", "b")
    assert (Settings().encoder, Settings().threads) == ("b", 3)


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    put(tmp_path / "here", 'databse_url = "x"')
    with pytest.raises(ConfigError, match="unknown setting databse_url"):
        Settings()


def test_a_file_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "here", "threads = 3").chmod(0o666)
    with pytest.raises(ConfigError, match="everybody may write to it"):
        Settings()


def test_a_file_that_is_no_toml_is_refused_without_quoting_it(tmp_path: Path) -> None:
    put(tmp_path / "here", "database_url = secret-word")
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        Settings()
    assert "secret-word" not in caught.value.message


def test_a_named_file_is_read_and_a_missing_one_is_told(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(f'database_url = "{database.url}"\n')
    ehrdb = command({})
    assert ehrdb("--config", str(file), "status").returncode == 0
    missing = ehrdb("--config", f"{tmp_path}/none.toml", "status")
    assert f"there is no settings file {tmp_path}/none.toml" in missing.stderr


def test_without_a_database_both_ways_are_named_and_nothing_is_made(tmp_path: Path) -> None:
    result = command({"EHRDB_HOME": str(tmp_path / "home")})("status", "--json")
    assert result.returncode == 2
    failure = json.loads(result.stdout)
    assert "no database is named" in failure["error"]
    assert "EHRDB_DATABASE_URL" in failure["hint"]
    assert "ehrdb demo" in failure["hint"]
    assert not (tmp_path / "home").exists()


def test_a_url_that_is_set_to_nothing_is_no_database_either(tmp_path: Path) -> None:
    result = command({"EHRDB_DATABASE_URL": "", "EHRDB_HOME": str(tmp_path / "home")})("upgrade")
    assert "no database is named" in result.stderr


def test_help_waits_for_no_library() -> None:
    code = "import sys, ehrdb.cli; sys.argv = ['ehrdb', '--help']; ehrdb.cli.main()"
    heavy = ["torch", "sklearn", "scipy", "polars", "numpy", "sqlalchemy", "alembic", "psycopg", "onnxruntime"]
    check = f"import atexit, sys; atexit.register(lambda: print([m for m in {heavy} if m in sys.modules]))"
    found = subprocess.run([sys.executable, "-c", f"{check}; {code}"], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"
