from __future__ import annotations

from pathlib import Path

import pytest

from ehrdb.encoder.manifest import GRAPH, MANIFEST, TOKENIZER, Manifest, load_manifest
from ehrdb.encoder.runtime import BatchingEncoder, open_batching
from ehrdb.errors import DigestMismatch, ModelIncomplete
from ehrdb.testing import FakeEncoder


def test_a_saved_manifest_loads_as_it_was(minilm: BatchingEncoder, encoder_directory: Path) -> None:
    assert load_manifest(encoder_directory) == minilm.manifest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[
            ("pooling", "cls"),
            ("max_tokens", 256),
            ("precision", "int8"),
            ("normalize", False),
            ("weights_digest", "x"),
        ],
        *[("include_prompt", False), ("chunk_prefix", "every")],
    ],
)
def test_whatever_decides_a_vector_changes_the_digest(field: str, value: object) -> None:
    manifest = FakeEncoder().manifest

    assert manifest.model_copy(update={field: value}).digest != manifest.digest


@pytest.mark.parametrize(("field", "value"), [("name", "other"), ("source", "elsewhere"), ("versions", {"a": "1"})])
def test_a_name_does_not_change_the_digest(field: str, value: object) -> None:
    manifest = FakeEncoder().manifest

    assert manifest.model_copy(update={field: value}).digest == manifest.digest


def test_an_encoder_made_before_later_fields_keeps_its_digest() -> None:
    later = {"include_prompt", "chunk_prefix", "similarity"}
    manifest = FakeEncoder().manifest

    older = Manifest.model_validate(manifest.model_dump(exclude=later))

    assert older.digest == manifest.digest == "e69f826ce46b4d3d38dbc7562a24a5303363f3c43460e73ec10dbc67b31a4944"


@pytest.mark.parametrize("file", [GRAPH, TOKENIZER])
def test_a_changed_file_is_refused(encoder_directory: Path, file: str) -> None:
    with (encoder_directory / file).open("ab") as stream:
        stream.write(b" ")

    with pytest.raises(DigestMismatch, match=file):
        load_manifest(encoder_directory)


@pytest.mark.parametrize("file", [GRAPH, TOKENIZER, MANIFEST])
def test_a_missing_file_is_named(encoder_directory: Path, file: str) -> None:
    (encoder_directory / file).unlink()

    with pytest.raises(ModelIncomplete):
        load_manifest(encoder_directory)


def test_a_manifest_that_is_none_is_refused(encoder_directory: Path) -> None:
    (encoder_directory / MANIFEST).write_text("{}")

    with pytest.raises(ModelIncomplete, match="not a manifest"):
        load_manifest(encoder_directory)


def test_a_truncated_graph_is_refused(minilm: BatchingEncoder, encoder_directory: Path) -> None:
    graph = (encoder_directory / GRAPH).read_bytes()
    (encoder_directory / GRAPH).write_bytes(graph[: len(graph) // 2])

    with pytest.raises(ModelIncomplete, match="cannot be loaded"):
        open_batching(encoder_directory, minilm.manifest)


def test_a_broken_tokenizer_is_refused(minilm: BatchingEncoder, encoder_directory: Path) -> None:
    (encoder_directory / TOKENIZER).write_text("{}")

    with pytest.raises(ModelIncomplete, match="not a tokenizer"):
        open_batching(encoder_directory, minilm.manifest)
