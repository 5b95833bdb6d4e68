"""`ehrdb encoder`: figures on success; on bad input a named error, nothing registered, nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from ehrdb.cli import main
from ehrdb.config import Settings
from ehrdb.database import Database
from ehrdb.embedding import refresh, registry
from ehrdb.embedding.load import load_encoder
from ehrdb.encoder import Encoder
from tests.encoder.served import serving
from tests.records import day, write_patients

pytestmark = pytest.mark.export


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Result]


@pytest.fixture
def ehrdb(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run `ehrdb ARGS...` in this process: importing torch anew for every command would take seconds."""
    for name, value in {"EHRDB_DATABASE_URL": database.url, "EHRDB_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Result:
        monkeypatch.setattr("sys.argv", ["ehrdb", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return Result(int(caught.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def model(database: Database, tmp_path: Path) -> Path:
    """A model's folder, and patients to compare encoders on."""
    pytest.importorskip("optimum.onnxruntime", reason="needs the export extra")
    from tests.encoder.models import tiny_bert

    with database.transaction() as connection:
        write_patients(connection, 3)
    return tiny_bert(tmp_path / "tiny")


def registered(database: Database) -> int:
    with database.transaction() as connection:
        row = connection.execute("select count(*) from ehr.encoder").fetchone()
        assert row is not None
        return int(row[0])


def test_verify_repeats_the_gate_of_the_export(ehrdb: Command, model: Path) -> None:
    exported = ehrdb("encoder", "export", str(model), "--json")
    assert exported.returncode == 0, exported.stderr

    verified = ehrdb("encoder", "verify", "tiny", "--model", str(model), "--json")

    assert verified.returncode == 0, verified.stderr
    figures = json.loads(exported.stdout)["parity"]
    assert json.loads(verified.stdout)["texts"] == figures["texts"] == 3
    assert json.loads(verified.stdout)["min_cosine"] == pytest.approx(figures["min_cosine"])


def test_verify_fails_where_the_original_is_another_model(ehrdb: Command, model: Path, tmp_path: Path) -> None:
    from tests.encoder.models import tiny_modernbert

    assert ehrdb("encoder", "export", str(model)).returncode == 0

    result = ehrdb("encoder", "verify", "tiny", "--model", str(tiny_modernbert(tmp_path / "other")))

    assert result.returncode == 2
    assert "is not the model that tiny was made of" in result.stderr


def test_tuning_registers_a_faster_precision_beside_the_one_in_use(
    ehrdb: Command, database: Database, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ehrdb.encoder import export as exporter

    speeds = {"fp32": 10.0, "int8": 20.0, "int7": 1.0}
    monkeypatch.setattr(exporter, "tokens_per_second", lambda encoders, texts: {p: speeds[p] for p in encoders})
    assert ehrdb("encoder", "export", str(model)).returncode == 0
    with database.transaction() as connection:
        before = registry.find(connection, "tiny")

    result = ehrdb("encoder", "tune", "tiny", "--model", str(model))

    assert result.returncode == 0, result.stderr
    assert "registered tiny-int8, which is faster here: `ehrdb encoder activate tiny-int8`" in result.stderr
    with database.transaction() as connection:
        assert registry.find(connection, "tiny") == before
        assert load_encoder(Settings(), registry.find(connection, "tiny-int8")).manifest.tuning is not None


def test_an_endpoint_embeds_the_patients_of_a_database(
    ehrdb: Command, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.transaction() as connection:
        write_patients(connection, 3)
    with serving() as (does, server):
        monkeypatch.setenv("EHRDB_ENDPOINTS", server.url)
        exported = ehrdb("encoder", "export", "served", "--endpoint", server.url)
        assert exported.returncode == 0, exported.stderr
        does.asked.clear()

        refreshed = ehrdb("refresh")

    assert refreshed.returncode == 0, refreshed.stderr
    assert sum(len(body["input"]) for body in does.asked) >= 3
    with database.transaction() as connection:
        row = connection.execute("select count(*) from ehrdb.embedding").fetchone()
    assert row == (3,)


def test_an_endpoint_that_the_administrator_did_not_name_is_never_asked(ehrdb: Command, database: Database) -> None:
    with serving() as (does, server):
        result = ehrdb("encoder", "export", "served", "--endpoint", server.url)

    assert result.returncode == 2
    assert "EHRDB_ENDPOINTS" in result.stderr
    assert (does.asked, registered(database)) == ([], 0)


def test_an_export_of_broken_weights_registers_and_writes_nothing(
    ehrdb: Command, database: Database, model: Path, tmp_path: Path
) -> None:
    from tests.encoder.models import with_nan

    result = ehrdb("encoder", "export", str(with_nan(model)))

    assert result.returncode == 2
    assert "holds NaN or infinity" in result.stderr
    assert registered(database) == 0
    assert list((tmp_path / "home" / "encoders").iterdir()) == []


def test_a_name_that_is_taken_keeps_its_files(ehrdb: Command, model: Path, tmp_path: Path) -> None:
    assert ehrdb("encoder", "export", str(model)).returncode == 0
    manifest = (tmp_path / "home" / "encoders" / "tiny" / "manifest.json").read_bytes()

    result = ehrdb("encoder", "export", str(model), "--precision", "bf16", "--name", "tiny")

    assert result.returncode == 2
    assert "belongs to another encoder" in result.stderr
    assert (tmp_path / "home" / "encoders" / "tiny" / "manifest.json").read_bytes() == manifest


def test_import_names_file_row_and_column(ehrdb: Command, database: Database, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "clmbr.parquet"
    frame = {"patient_id": [1, 77], "prediction_time": [day(25), day(25)], "embedding": [[1.0, 0.5], [1.0, 0.5]]}
    pl.DataFrame(frame).write_parquet(file)

    result = ehrdb("encoder", "import", str(file), "--name", "clmbr")

    assert result.returncode == 2
    assert "clmbr.parquet, row 2, column patient_id: patient 77" in result.stderr
    assert registered(database) == 0


def test_import_and_concatenate(ehrdb: Command, database: Database, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "clmbr.parquet"
    pl.DataFrame({"patient_id": [1], "prediction_time": [day(25)], "embedding": [[1.0, 0.5]]}).write_parquet(file)
    assert "1 of 1 vectors" in ehrdb("encoder", "import", str(file), "--name", "clmbr").stderr
    assert "nothing changed" in ehrdb("encoder", "import", str(file), "--name", "clmbr").stderr
    assert ehrdb("encoder", "export", str(model)).returncode == 0

    result = ehrdb("encoder", "concatenate", "tiny", "clmbr", "--name", "joint", "--json")

    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["dimension"] == 34
    assert ehrdb("refresh", "--encoder", "joint").returncode == 0
    assert registered(database) == 3


def test_an_encoder_whose_file_is_gone_ends_a_refresh_before_anything_is_claimed(
    ehrdb: Command, database: Database, model: Path, tmp_path: Path
) -> None:
    assert ehrdb("encoder", "export", str(model)).returncode == 0
    graph = tmp_path / "home" / "encoders" / "tiny" / "model.onnx"
    away = graph.rename(tmp_path / "away")
    result = ehrdb("refresh", "--once")
    assert result.returncode == 2
    assert "model.onnx" in result.stderr
    away.rename(graph)
    assert '"embedded": 3' in ehrdb("refresh", "--json").stdout


def test_an_encoder_whose_files_vanish_in_the_middle_finishes_the_run(
    ehrdb: Command, database: Database, model: Path, tmp_path: Path
) -> None:
    assert ehrdb("encoder", "export", str(model)).returncode == 0
    home = tmp_path / "home"
    with database.transaction() as connection:
        encoder = registry.find(connection, None)

    def load_then_lose() -> Encoder:
        loaded = load_encoder(Settings(home=home), encoder)
        shutil.rmtree(home / "encoders")
        return loaded

    assert refresh(database, encoder, load_then_lose).embedded == 3


def test_nothing_clinical_is_printed_or_kept_beside_the_tables(ehrdb: Command, database: Database, model: Path) -> None:
    assert ehrdb("encoder", "export", str(model)).returncode == 0
    printed = [ehrdb(*command) for command in (["refresh"], ["status"], ["index", "check"], ["status", "--json"])]
    with database.transaction() as connection:
        kept = connection.execute(
            "select (select string_agg(j::text, '') from ehrdb.embedding_job j)"
            "    || (select string_agg(r::text, '') from ehrdb.refresh_run r)"
        ).fetchone()
    everything = str([result.stdout + result.stderr for result in printed]) + str(kept)
    assert "SNOMED" not in everything
    assert "text of" not in everything


def test_a_search_in_words_finds_whom_the_words_describe(ehrdb: Command, database: Database, model: Path) -> None:
    assert ehrdb("encoder", "export", str(model)).returncode == 0
    assert ehrdb("refresh").returncode == 0
    with database.transaction() as connection:
        row = connection.execute("select ehr.timeline(2)").fetchone()
    assert row is not None
    found = json.loads(ehrdb("search", row[0], "--k", "1", "--json").stdout)
    assert [neighbour["patient_id"] for neighbour in found] == [2]
