"""Bad input: one clear message, a non-zero exit, and the database exactly as before."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ehrdb.database import Database
from tests.cli.conftest import Here

PERSON = "person_id,gender_concept_id,year_of_birth\n1,8507,1950\n2,8532,1960\n"
CONCEPT = "concept_id,concept_name,vocabulary_id,concept_code\n100,Hypertension,SNOMED,38341003\n"
CONDITION = "condition_occurrence_id,person_id,condition_concept_id,condition_start_date\n1,1,100,2020-01-05\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small OMOP folder that loads."""
    found = tmp_path / "omop"
    found.mkdir()
    (found / "person.csv").write_text(PERSON)
    (found / "CONCEPT.csv").write_text(CONCEPT.replace(",", "\t"))
    (found / "Condition_Occurrence.csv").write_text(CONDITION)
    return found


def counts(database: Database) -> object:
    with database.transaction() as connection:
        return connection.execute(
            "select (select count(*) from ehrdb.patient), (select count(*) from ehrdb.event),"
            " (select count(*) from ehrdb.concept), (select count(*) from ehrdb.load_report)"
        ).fetchone()


def test_the_folder_loads_whatever_case_and_delimiter(ehrdb: Here, database: Database, folder: Path) -> None:
    result = ehrdb("load", "omop", str(folder))
    assert result.returncode == 0, result.stderr
    assert "2 new" in result.stderr


def test_the_folder_loads_in_portions(ehrdb: Here, database: Database, folder: Path) -> None:
    result = ehrdb("load", "omop", str(folder), "--workers", "2", "--portion", "1")
    assert result.returncode == 0, result.stderr
    assert "2 new" in result.stderr


def test_loading_it_again_says_nothing_changed(ehrdb: Here, folder: Path) -> None:
    ehrdb("load", "omop", str(folder))
    assert "nothing changed" in ehrdb("load", "omop", str(folder)).stderr


Spoil = Callable[[Path], object]


def append(file: str, text: str) -> Spoil:
    def spoil(folder: Path) -> None:
        with (folder / file).open("a") as stream:
            stream.write(text)

    return spoil


def rewrite(file: str, old: str, new: str) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / file
        path.write_text(path.read_text().replace(old, new))

    return spoil


BAD_INPUT: dict[str, tuple[Spoil, list[str]]] = {
    "missing required file": (lambda folder: (folder / "person.csv").unlink(), ["person.csv"]),
    "missing required column": (rewrite("person.csv", "year_of_birth", "year"), ["person.csv", "year_of_birth"]),
    "too few fields": (append("Condition_Occurrence.csv", "2,1\n"), ["row 3", "too few fields"]),
    "too many fields": (append("person.csv", "3,8507,1950,9\n"), ["row 4", "too many fields"]),
    "non-numeric id": (append("Condition_Occurrence.csv", "x,1,100,2020-01-05\n"), ["row 3", "whole number"]),
    "impossible date": (
        append("Condition_Occurrence.csv", "2,1,100,2020-02-30\n"),
        ["row 3, column condition_start_date"],
    ),
    "duplicate key": (append("Condition_Occurrence.csv", "1,1,100,2020-01-05\n"), ["row 3", "stands twice"]),
    "unknown person": (append("Condition_Occurrence.csv", "2,77,100,2020-01-05\n"), ["row 3", "not in person (77)"]),
    "empty folder": (lambda folder: list(map(Path.unlink, folder.iterdir())), ["person.csv"]),
    "no folder": (lambda folder: shutil.rmtree(folder), ["not a directory"]),
    "not UTF-8": (lambda folder: (folder / "person.csv").write_bytes(PERSON.encode() + b"3,8507,\xff\n"), ["UTF-8"]),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_a_bad_folder_is_refused_whole(ehrdb: Here, database: Database, folder: Path, name: str) -> None:
    spoil, expected = BAD_INPUT[name]
    ehrdb("load", "omop", str(folder))
    before = counts(database)
    spoil(folder)
    result = ehrdb("load", "omop", str(folder))
    assert result.returncode == 2
    assert result.stderr.count("error:") == 1
    assert "Traceback" not in result.stderr
    for words in expected:
        assert words in result.stderr
    assert counts(database) == before


def test_bad_rows_can_be_skipped_and_are_counted(ehrdb: Here, folder: Path) -> None:
    append("Condition_Occurrence.csv", "2,77,100,2020-01-05\n3,1,100,2020-02-30\n")(folder)
    result = ehrdb("load", "omop", str(folder), "--skip-bad-rows")
    assert result.returncode == 0
    assert "person_id is not in person: 1" in result.stdout
    assert "condition_start_date is missing or impossible: 1" in result.stdout


def test_ragged_rows_can_be_skipped_and_empty_surplus_is_dropped(ehrdb: Here, folder: Path) -> None:
    append("Condition_Occurrence.csv", "2,1,100,2020-01-06,,,\n3,1\n4,1,100,2020-01-07,x\n5,1,100,2020-01-08\n")(folder)
    result = ehrdb("load", "omop", str(folder), "--skip-bad-rows", "--json")
    assert result.returncode == 0, result.stderr
    tables = {table["source_table"]: table for table in json.loads(result.stdout)["tables"]}
    found = tables["condition_occurrence"]
    assert (found["rows_read"], found["rows_loaded"], found["rows_rejected"]) == (5, 3, 2)
    assert found["reasons"] == {"row has too few fields": 1, "row has too many fields": 1}


def test_what_falls_with_a_rejected_person_is_counted(ehrdb: Here, folder: Path) -> None:
    rewrite("person.csv", "1,8507,1950", "1,8507,soon")(folder)
    result = ehrdb("load", "omop", str(folder), "--skip-bad-rows")
    assert "person_id is of a rejected person: 1" in result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no unwritable place under this name")
def test_an_unwritable_home_says_so(ehrdb: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EHRDB_HOME", "/proc/ehrdb")
    result = ehrdb.asking(None)("demo")
    assert result.returncode == 2
    assert "EHRDB_HOME /proc/ehrdb is not writable" in result.stderr


def test_an_embedded_server_that_does_not_start_says_where_to_look(
    ehrdb: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EHRDB_HOME", str(tmp_path))
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")
    result = ehrdb.asking(None)("status")
    assert result.returncode == 2
    assert f"the embedded server under {tmp_path}/postgres does not start" in result.stderr
    assert result.stderr.count("\n") < 8


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "nonsense"])
def test_a_wrong_url_says_what_to_do(ehrdb: Here, url: str) -> None:
    result = ehrdb.asking(url)("status")
    assert result.returncode == 2
    assert "hint:" in result.stderr


def test_a_password_never_shows(ehrdb: Here) -> None:
    url = "postgresql://nobody:secret-word@127.0.0.1:1/none"
    for arguments in (["status"], ["doctor"]):
        result = ehrdb.asking(url)(*arguments)
        assert "secret-word" not in result.stderr + result.stdout


def test_a_database_without_the_schema_says_what_to_run(ehrdb: Here, empty_database: Database) -> None:
    result = ehrdb.asking(empty_database.url)("status")
    assert "Run `ehrdb upgrade`" in result.stderr


def test_a_model_without_tokenizer_is_refused(ehrdb: Here, tmp_path: Path) -> None:
    pytest.importorskip("optimum")
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    (tmp_path / "model").mkdir()
    config = '{"model_type": "bert", "max_position_embeddings": 8, "hidden_size": 4}'
    (tmp_path / "model" / "config.json").write_text(config)
    weights = {"embeddings.word_embeddings.weight": np.zeros((4, 4), np.float32)}
    safetensors_numpy.save_file(weights, tmp_path / "model" / "model.safetensors")
    result = ehrdb("encoder", "export", str(tmp_path / "model"))
    assert result.returncode == 2
    assert "tokenizer.json" in result.stderr
    assert "[]" in ehrdb("encoder", "list", "--json").stdout


def test_an_unknown_concept_order_names_the_choices(ehrdb: Here, folder: Path) -> None:
    result = ehrdb("load", "omop", str(folder), "--concept-order", "standard,best")
    assert result.returncode == 2
    assert "standard, source, source_value" in result.stderr
