"""Encoders travel: folder to home, home to database, database to a host that has nothing but the URL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ehrdb.config import Settings
from ehrdb.database import Database
from ehrdb.embedding import files, registry
from ehrdb.embedding.files import adopt, encoder_directory, publish, registered_files
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.encoder.manifest import MANIFEST, file_digest, load_manifest
from ehrdb.errors import DigestMismatch, EncoderError, ModelIncomplete
from ehrdb.testing import FakeEncoder

GRAPH = bytes(range(256)) * 10


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """The folder of an encoder that was exported elsewhere."""
    folder = tmp_path / "stick" / "model"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(GRAPH)
    (folder / "tokenizer.json").write_bytes(b"{}")
    (folder / "empty.txt").write_bytes(b"")
    write_manifest(folder, {path.name: file_digest(path) for path in folder.iterdir()})
    return folder


def write_manifest(folder: Path, digests: dict[str, str]) -> None:
    FakeEncoder(name="travelling").manifest.model_copy(update={"files": digests}).save(folder)


@pytest.fixture
def here(database: Database, tmp_path: Path) -> Settings:
    return Settings(database_url=database.url, home=tmp_path / "here")


@pytest.fixture
def elsewhere(database: Database, tmp_path: Path) -> Settings:
    """Another host: the same database, an empty home."""
    return Settings(database_url=database.url, home=tmp_path / "elsewhere")


def registered(database: Database, here: Settings, exported: Path) -> RegisteredEncoder:
    manifest = adopt(here, exported, None)
    with database.transaction() as connection:
        return registry.register(connection, manifest)


def published(database: Database, here: Settings, exported: Path) -> RegisteredEncoder:
    encoder = registered(database, here, exported)
    with database.transaction() as connection:
        assert publish(connection, here, encoder) == len(GRAPH) + 2
    return encoder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}


def test_an_adopted_encoder_is_the_exported_one(here: Settings, exported: Path) -> None:
    manifest = adopt(here, exported, None)

    assert manifest.name == "travelling"
    assert contents(encoder_directory(here, "travelling")) == contents(exported)


def test_it_may_have_another_name_here(here: Settings, exported: Path) -> None:
    assert adopt(here, exported, "site/model").name == "site/model"
    assert (here.encoder_dir / "site--model" / MANIFEST).exists()


def test_adopting_again_changes_nothing(here: Settings, exported: Path) -> None:
    first = adopt(here, exported, None)
    before = encoder_directory(here, "travelling").stat().st_mtime_ns

    assert adopt(here, exported, None) == first
    assert encoder_directory(here, "travelling").stat().st_mtime_ns == before


def test_a_damaged_file_is_not_adopted(here: Settings, exported: Path) -> None:
    (exported / "model.onnx").write_bytes(GRAPH + b"!")

    with pytest.raises(DigestMismatch):
        adopt(here, exported, None)

    assert not here.encoder_dir.exists()


def test_a_name_that_another_encoder_has_here_is_refused(here: Settings, exported: Path) -> None:
    adopt(here, exported, None)
    (exported / "model.onnx").write_bytes(b"another")
    write_manifest(exported, {"model.onnx": file_digest(exported / "model.onnx")})

    with pytest.raises(EncoderError, match="holds another encoder"):
        adopt(here, exported, None)


def test_a_manifest_cannot_reach_out_of_its_folder(here: Settings, exported: Path) -> None:
    secret = exported.parent / "secret"
    secret.write_bytes(b"not a model")
    write_manifest(exported, {"../secret": file_digest(secret)})

    with pytest.raises(ModelIncomplete, match="not a plain file name"):
        adopt(here, exported, None)

    assert list(here.encoder_dir.iterdir()) == []


@pytest.mark.parametrize("part_bytes", [7, len(GRAPH), 4 << 20])
def test_a_host_without_files_fetches_what_was_published(
    database: Database,
    here: Settings,
    elsewhere: Settings,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    part_bytes: int,
) -> None:
    monkeypatch.setattr(files, "PART_BYTES", part_bytes)
    encoder = published(database, here, exported)

    folder, manifest = registered_files(elsewhere, encoder)

    assert folder == encoder_directory(elsewhere, "travelling")
    assert contents(folder) == contents(exported)
    assert manifest == load_manifest(exported)


def test_publishing_again_takes_the_place_of_what_is_there(database: Database, here: Settings, exported: Path) -> None:
    published(database, here, exported)
    published(database, here, exported)

    with database.transaction() as connection:
        found = connection.execute("select sum(length(content)) from ehrdb.encoder_file").fetchone()
    assert found == (len(GRAPH) + 2,)


def test_what_was_changed_in_the_database_is_not_taken(
    database: Database, here: Settings, elsewhere: Settings, exported: Path
) -> None:
    encoder = published(database, here, exported)
    with database.transaction() as connection:
        connection.execute("update ehrdb.encoder_file set content = content || 'x' where name = 'model.onnx'")

    with pytest.raises(DigestMismatch):
        registered_files(elsewhere, encoder)

    assert not encoder_directory(elsewhere, "travelling").exists()


def test_where_nothing_was_published_the_error_names_both_ways(
    database: Database, here: Settings, elsewhere: Settings, exported: Path
) -> None:
    encoder = registered(database, here, exported)

    with pytest.raises(ModelIncomplete) as caught:
        registered_files(elsewhere, encoder)

    assert "ehrdb encoder register" in str(caught.value.hint)
    assert "ehrdb encoder publish travelling" in str(caught.value.hint)


def test_several_workers_that_start_at_once_fetch_it_once(
    database: Database, here: Settings, elsewhere: Settings, exported: Path
) -> None:
    encoder = published(database, here, exported)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: registered_files(elsewhere, encoder)[0], range(8)))

    assert {contents(folder)["model.onnx"] for folder in found} == {GRAPH}
    assert {path.name for path in elsewhere.encoder_dir.iterdir()} == {".fetch", "travelling"}


def test_a_dropped_encoder_leaves_no_files_in_the_database(database: Database, here: Settings, exported: Path) -> None:
    published(database, here, exported)
    with database.transaction() as connection:
        connection.execute("update ehrdb.encoder set is_serving = false")
        registry.drop(connection, "travelling")
        assert connection.execute("select from ehrdb.encoder_file").rowcount == 0
