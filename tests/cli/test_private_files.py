"""What a command writes tells of patients: whatever the umask says, it is for who ran the command alone."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from ehrdb.database import Database
from ehrdb.embedding import refresh
from ehrdb.testing import FakeEncoder
from tests.cli.conftest import Here
from tests.cli.test_hostile_options import LEAVES
from tests.filled import filled_once
from tests.records import add_encoder, add_head, day, write_patients

SOURCES = [f"{verb} {source}" for verb in ("check", "load") for source in ("omop", "ehrshot", "meds")]
READS = {
    *(f"{command} directory" for command in SOURCES),
    *("check fhir path", "load fhir path"),
    *("load labels path", "load map file", "load map --concepts", "task add file"),
    *("task add --aces", "task add --predicates"),
    *("encoder register directory", "encoder import file"),
    *("evaluate --embeddings", "evaluate --labels", "evaluate --patients"),
    "evaluate --count-codes",
    *("finetune encoder model", "finetune decoder model", "finetune ask model"),
    "study file",
}
# Each place that a command writes to, and a command that does; {} is the place.
WRITES = {
    "check omop --html": "check omop records --html {}",
    "check ehrshot --html": "",  # the same lines of code for every source
    "check meds --html": "",
    "check fhir --html": "",
    "export meds directory": "export meds {}",
    "export labels directory": "export labels {} t",
    "export predictions file": "export predictions {} t --split all",
    "evaluate --probabilities": "evaluate --embeddings e.parquet --labels l.parquet --k 2 --probabilities {}",
    "evaluate --report": "evaluate --embeddings e.parquet --labels l.parquet --k 2 --report {}",
    "study --out": "study study.yaml --out {}",
    "match --out": "match 'select 1' --out {}",
    "map --out": "map --out {}",
}


@pytest.fixture(autouse=True)
def generous() -> Iterator[None]:
    """An umask that forbids nothing."""
    before = os.umask(0)
    yield
    os.umask(before)


def places() -> set[str]:
    """Every argument and option that names a file or folder, by its command."""
    return {
        f"{name} {parameter.opts[0]}"
        for name, command in LEAVES.items()
        for parameter in command.params
        if "Path" in str(parameter.type_descriptor.annotation)
    }


def test_every_file_that_a_command_reads_or_writes_is_known_below() -> None:
    assert places() == READS | set(WRITES)


def fill(database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 12)
        connection.execute(
            "insert into ehrdb.task values ('t', 'own', 'binary', 'a task', '{\"shape\": \"imported\"}')"
        )
        connection.execute(
            "insert into ehrdb.label select 't', p, timestamp '2020-01-31', p % 2 from generate_series(1, 12) p"
        )
        encoder = add_encoder(connection)
        add_head(connection, "t", encoder)
    refresh(database, encoder, FakeEncoder)


@pytest.fixture(scope="session")
def template(server_url: str, owner_url: str, template: str) -> Iterator[str]:
    """Patients with vectors, labels and a head."""
    with filled_once(server_url, owner_url, template, "private", fill) as name:
        yield name


@pytest.fixture
def files(tmp_path: Path) -> None:
    """Files of such."""
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "person.csv").write_text("person_id,gender_concept_id,year_of_birth\n99,8507,1950\n")
    concepts = "concept_id,concept_name,domain_id,vocabulary_id,concept_class_id,standard_concept,concept_code\n"
    (tmp_path / "records" / "concept.csv").write_text(f"{concepts}8507,MALE,Gender,Gender,Gender,S,M\n")
    keys = {"patient_id": list(range(60)), "prediction_time": [day(1)] * 60}
    vectors = [[float(p % 2), p / 60] for p in range(60)]
    split = [("train", "val", "test")[p // 2 % 3] for p in range(60)]
    pl.DataFrame({**keys, "embedding": vectors}).write_parquet(tmp_path / "e.parquet")
    labels = {**keys, "task": ["t"] * 60, "value": [p % 2 for p in range(60)], "split": split}
    pl.DataFrame(labels).write_parquet(tmp_path / "l.parquet")
    (tmp_path / "study.yaml").write_text("{title: t, embeddings: [e.parquet], labels: l.parquet, k: [2]}")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("place", [place for place, line in WRITES.items() if line])
@pytest.mark.parametrize("is_there", [False, True])
def test_it_is_for_its_writer_alone(ehrdb: Here, tmp_path: Path, place: str, is_there: bool) -> None:
    target = tmp_path / "written.parquet"
    if is_there and "directory" not in place and place != "study --out":
        target.touch(mode=0o644)
    result = ehrdb(*(word.replace("{}", str(target)) for word in shlex.split(WRITES[place])))
    assert result.returncode == 0, result
    written = [path for path in (target, *target.rglob("*")) if path.is_file()]
    assert written
    assert [path for path in written if stat.S_IMODE(path.stat().st_mode) != 0o600] == []
    assert not list(tmp_path.glob(".*")), "something is left beside it"
