"""Graphs that come with a model, in the layout of the hub's repositories."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("optimum.onnxruntime", reason="needs the export extra")

from onnxruntime.quantization import QuantType, quantize_dynamic
from optimum.exporters.onnx import main_export
from sentence_transformers import SentenceTransformer

from ehrdb.encoder.export import export
from ehrdb.encoder.runtime import open_encoder
from ehrdb.errors import ModelIncomplete, ModelNotSupported, QualityGateFailed
from tests.encoder import models

pytestmark = pytest.mark.export
TEXTS = ["Asthma", "Creatinine (mg/dL): 1.1\nHeart failure", "Lupus\n" * 20]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers model with onnx/model.onnx and onnx/model_quantized.onnx."""
    folder = models.as_sentence_transformer(models.tiny_bert(tmp_path_factory.mktemp("models") / "bert"), pooling="cls")
    made = folder.parent / "made"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about its own tracing
        main_export(str(folder), made, task="feature-extraction", library_name="transformers", do_validation=False)
    (folder / "onnx").mkdir()
    (made / "model.onnx").rename(folder / "onnx" / "model.onnx")
    quantize_dynamic(folder / "onnx/model.onnx", folder / "onnx/model_quantized.onnx", weight_type=QuantType.QInt8)
    return folder


def test_a_models_own_graph_gives_its_librarys_vectors(repository: Path, tmp_path: Path) -> None:
    manifest = export(str(repository), tmp_path / "e", name="tiny", onnx="onnx/model.onnx", sample_texts=TEXTS)

    ours = open_encoder(tmp_path / "e", manifest).encode(TEXTS).vectors
    np.testing.assert_allclose(ours, SentenceTransformer(str(repository)).encode(TEXTS), atol=1e-4)
    assert manifest.precision == "fp32"


def test_a_quantized_graph_passes_the_gate_of_int8(repository: Path, tmp_path: Path) -> None:
    file = "onnx/model_quantized.onnx"

    manifest = export(str(repository), tmp_path / "e", name="tiny", onnx=file, sample_texts=TEXTS)

    assert manifest.precision == "int8"
    assert manifest.parity is not None
    assert manifest.parity.mean_cosine >= 0.99


def test_a_graph_of_another_model_is_refused_by_the_gate(repository: Path, tmp_path: Path) -> None:
    model = models.copy(repository, tmp_path / "model")
    graph = onnx.load(model / "onnx/model.onnx")
    (table,) = [each for each in graph.graph.initializer if each.name.endswith("word_embeddings.weight")]
    values = np.random.default_rng(0).normal(size=tuple(table.dims)).astype(np.float32)
    table.CopyFrom(onnx.numpy_helper.from_array(values, table.name))
    onnx.save(graph, model / "onnx/model.onnx")

    with pytest.raises(QualityGateFailed):
        export(str(model), tmp_path / "e", name="tiny", onnx="onnx/model.onnx", sample_texts=TEXTS)


def test_a_number_that_is_none_is_found_in_whatever_row(repository: Path, tmp_path: Path) -> None:
    model = models.copy(repository, tmp_path / "model")
    graph = onnx.load(model / "onnx/model.onnx")
    (table,) = [each for each in graph.graph.initializer if each.name.endswith("word_embeddings.weight")]
    values = onnx.numpy_helper.to_array(table).copy()
    values[3, 1] = np.nan  # of a byte that no text here has
    table.CopyFrom(onnx.numpy_helper.from_array(values, table.name))
    onnx.save(graph, model / "onnx/model.onnx")

    with pytest.raises(ModelIncomplete, match=r"model\.onnx: .*word_embeddings\.weight holds NaN"):
        export(str(model), tmp_path / "e", name="tiny", onnx="onnx/model.onnx", sample_texts=TEXTS)


def test_a_missing_graph_names_those_that_are_there(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelIncomplete, match=r"model_O4\.onnx is missing") as caught:
        export(str(repository), tmp_path / "e", name="tiny", onnx="onnx/model_O4.onnx")

    assert "onnx/model.onnx, onnx/model_quantized.onnx" in str(caught.value.hint)


def test_a_graph_that_gives_no_token_states_is_refused(repository: Path, tmp_path: Path) -> None:
    model = models.copy(repository, tmp_path / "model")
    graph = onnx.load(model / "onnx/model.onnx")
    graph.graph.output[0].name = "logits"
    onnx.save(graph, model / "onnx/model.onnx")

    with pytest.raises(ModelNotSupported, match=r"model\.onnx gives logits"):
        export(str(model), tmp_path / "e", name="tiny", onnx="onnx/model.onnx")
