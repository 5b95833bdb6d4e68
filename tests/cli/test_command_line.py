"""The command line as a whole."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from ehrdb import __version__
from ehrdb.cli import COMMANDS, imported
from ehrdb.failure import explain
from tests.cli.conftest import Here


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_help_is_how_the_commands_own_help_begins(name: str) -> None:
    found: Any = imported(name)
    own = inspect.cleandoc(found.help or "")
    assert own.startswith(COMMANDS[name][1].rstrip("."))


def test_an_unknown_command_is_told(ehrdb: Here) -> None:
    result = ehrdb("frobnicate")
    assert result.returncode == 2
    assert "No such command" in result.stderr


def test_a_missing_extra_is_named_in_full() -> None:
    message, hint = explain(ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")) or ("", "")
    assert (message, hint) == ("this needs the package onnxruntime", "Install it: pip install 'ehrdb[cpu]'")
    assert explain(ModuleNotFoundError("No module named 'ehrdb.nothing'", name="ehrdb.nothing")) is None


def test_a_file_that_cannot_be_written_is_told(ehrdb: Here, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = ehrdb("match", "select 1", "--out", str(tmp_path / "file" / "pairs.csv"))
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "is not a folder" in result.stderr


def test_a_wrong_vocabulary_schema_is_the_one_that_is_blamed(ehrdb: Here) -> None:
    result = ehrdb("load", "omop", "--schema", "public", "--vocab-schema", "nope")
    assert "there is no schema nope" in result.stderr
    assert "--vocab-schema" in result.stderr


def test_a_file_that_is_not_compressed_as_it_says_is_told(ehrdb: Here, tmp_path: Path) -> None:
    for name in ("person.csv.gz", "concept.csv.gz"):
        (tmp_path / name).write_text("person_id\n1\n")
    result = ehrdb("load", "omop", str(tmp_path))
    assert result.returncode == 2
    assert "person.csv.gz: cannot be read (BadGzipFile)" in result.stderr


def test_a_moment_without_events_is_told(ehrdb: Here, tmp_path: Path) -> None:
    (tmp_path / "person.csv").write_text("person_id,gender_concept_id,year_of_birth\n1,8507,1950\n")
    (tmp_path / "concept.csv").write_text("concept_id,concept_name,vocabulary_id,concept_code\n1,Test,LOINC,1-1\n")
    assert ehrdb("load", "omop", str(tmp_path)).returncode == 0
    result = ehrdb("timeline", "1", "--as-of", "1900-01-01")
    assert (result.returncode, result.stdout) == (0, "")
    assert "patient 1 has nothing at or before 1900-01-01" in result.stderr


def test_the_version_is_printed(ehrdb: Here) -> None:
    assert ehrdb("--version").stdout.strip() == __version__
