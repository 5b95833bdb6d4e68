from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("optimum.onnxruntime", reason="needs the export extra")

import torch
from transformers import AutoModel, AutoTokenizer

from ehrdb.encoder import export as exporter
from ehrdb.encoder.export import DEFAULT_MODEL, export, tune, verify
from ehrdb.encoder.machine import this_machine
from ehrdb.encoder.manifest import GRAPH, MANIFEST, TOKENIZER, Chunking, Manifest, Parity, Precision, load_manifest
from ehrdb.encoder.parity import made_up_texts, overlap, require_quality
from ehrdb.encoder.pooling import Floats
from ehrdb.encoder.runtime import BatchingEncoder, open_batching
from ehrdb.encoder.tuning import fastest, tokens_per_second
from ehrdb.encoder.writing import describe
from ehrdb.errors import (
    DigestMismatch,
    EncoderError,
    ModelIncomplete,
    ModelNotSupported,
    QualityGateFailed,
)
from tests.encoder.models import tiny_bert, tiny_modernbert, tiny_qwen3, with_nan, with_outlier

pytestmark = pytest.mark.export
TEXTS = [text[:300] for text in made_up_texts(4)]


def test_the_export_equals_pytorch(minilm: BatchingEncoder) -> None:
    parity = minilm.manifest.parity

    assert parity is not None
    assert parity.min_cosine >= 0.9999
    assert parity.overlap_at_10 >= 0.99


def test_the_manifest_says_what_the_model_is(minilm: BatchingEncoder) -> None:
    manifest = minilm.manifest

    assert (manifest.source, manifest.architecture) == (DEFAULT_MODEL, "bert")
    assert (manifest.pooling, manifest.chunking, manifest.normalize) == ("mean", "mean", True)
    assert (manifest.dimension, manifest.max_tokens, manifest.chunk_tokens, manifest.max_chunks) == (384, 512, 504, 16)
    assert set(manifest.files) == {GRAPH, TOKENIZER}


def test_nothing_else_is_left_in_the_folder(minilm_directory: Path) -> None:
    assert {path.name for path in minilm_directory.iterdir()} == {GRAPH, TOKENIZER, MANIFEST}
    assert {path.name for path in minilm_directory.parent.iterdir()} == {minilm_directory.name}


def test_exporting_again_gives_the_same_encoder(tmp_path: Path) -> None:
    model = str(tiny_bert(tmp_path / "model"))

    first = export(model, tmp_path / "encoder", name="tiny", sample_texts=TEXTS)
    second = export(model, tmp_path / "encoder", name="renamed", sample_texts=TEXTS)

    assert first.digest == second.digest
    assert load_manifest(tmp_path / "encoder").name == "renamed"


def test_sentence_transformers_files_are_understood(tmp_path: Path) -> None:
    model = tiny_bert(tmp_path / "model", pooling="cls", normalize=True, prompt="query: ", matryoshka=(8, 16))

    manifest = export(str(model), tmp_path / "encoder", name="tiny", dimension=8, sample_texts=TEXTS)

    assert (manifest.pooling, manifest.normalize, manifest.prefix) == ("cls", True, "query: ")
    assert (manifest.dimension, manifest.matryoshka_dimensions) == (8, (8, 16))


def test_a_vector_is_not_cut_where_the_model_was_not_trained_for_it(tmp_path: Path) -> None:
    with pytest.raises(ModelNotSupported, match="8 dimensions"):
        export(str(tiny_bert(tmp_path / "model")), tmp_path / "encoder", name="tiny", dimension=8)


@pytest.mark.parametrize("chunking", ["mean", "concat"])
def test_chunks_are_averaged_or_joined_as_in_the_paper(tmp_path: Path, chunking: Chunking) -> None:
    model = tiny_bert(tmp_path / "model")
    manifest = export(str(model), tmp_path / "encoder", name="tiny", chunking=chunking, sample_texts=TEXTS)
    text = "".join(chr(97 + i % 26) for i in range(1200))  # a token each

    vector = open_batching(tmp_path / "encoder", manifest).encode([text]).vectors[0]

    chunks = mean_states(model, [text[start : start + 504] for start in range(0, 1200, 504)])
    joined = np.zeros((manifest.max_chunks, 32), np.float32)
    joined[: len(chunks)] = chunks
    np.testing.assert_allclose(vector, chunks.mean(0) if chunking == "mean" else joined.ravel(), atol=1e-5)
    assert manifest.dimension == len(vector)


def test_qwen3_embedding_can_be_cut_to_the_dimensions_of_its_card(tmp_path: Path) -> None:
    model = tiny_qwen3(tmp_path / "Qwen3-Embedding-tiny")
    whole = export(str(model), tmp_path / "whole", name="whole", sample_texts=TEXTS)
    cut = export(str(model), tmp_path / "cut", name="cut", dimension=32, sample_texts=TEXTS)

    vectors = open_batching(tmp_path / "whole", whole).encode(["Asthma"]).vectors[:, :32]

    expected = vectors / np.linalg.norm(vectors)
    np.testing.assert_allclose(open_batching(tmp_path / "cut", cut).encode(["Asthma"]).vectors, expected, atol=1e-6)


def test_a_graph_of_many_weights_keeps_them_in_a_file_of_their_own(tmp_path: Path) -> None:
    export(str(tiny_qwen3(tmp_path / "model")), tmp_path / "encoder", name="tiny", sample_texts=TEXTS)

    manifest = load_manifest(tmp_path / "encoder")
    assert set(manifest.files) == {GRAPH, f"{GRAPH}.data", TOKENIZER}
    (tmp_path / "encoder" / f"{GRAPH}.data").unlink()
    with pytest.raises(ModelIncomplete, match=f"{GRAPH}.data is missing"):
        load_manifest(tmp_path / "encoder")


def test_weights_that_are_not_numbers_stop_the_export(tmp_path: Path) -> None:
    model = with_nan(tiny_bert(tmp_path / "model"))

    with pytest.raises(ModelIncomplete, match=r"model\.safetensors: \S+ holds NaN or infinity"):
        export(str(model), tmp_path / "encoders" / "tiny", name="tiny")

    assert list((tmp_path / "encoders").iterdir()) == []


def test_modernbert_equals_pytorch(tmp_path: Path) -> None:
    manifest = export(str(tiny_modernbert(tmp_path / "model")), tmp_path / "encoder", name="tiny", sample_texts=TEXTS)

    assert manifest.parity is not None
    assert manifest.parity.min_cosine >= 0.9999


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda model: (model / "config.json").unlink(), ModelIncomplete),
        (lambda model: [path.unlink() for path in model.glob("*token*")], ModelIncomplete),
        (lambda model: (model / "model.safetensors").unlink(), ModelIncomplete),
        (lambda model: (model / "adapter_config.json").write_text("{}"), ModelIncomplete),
        (lambda model: _change_config(model, model_type="t5"), ModelNotSupported),
    ],
)
def test_an_unusable_model_is_a_named_error_and_writes_nothing(tmp_path: Path, damage, error) -> None:  # type: ignore[no-untyped-def]
    model = tiny_bert(tmp_path / "model")
    damage(model)

    with pytest.raises(error) as caught:
        export(str(model), tmp_path / "encoders" / "tiny", name="tiny")

    assert caught.value.hint
    assert list((tmp_path / "encoders").iterdir()) == []


def test_a_model_that_is_nowhere_is_a_named_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(EncoderError, match="neither a folder"):
        export("nobody/nothing", tmp_path / "encoder", name="x")


def test_a_failed_export_leaves_the_former_encoder(tmp_path: Path) -> None:
    model = tiny_bert(tmp_path / "model")
    export(str(model), tmp_path / "encoder", name="tiny", sample_texts=TEXTS)
    (model / "model.safetensors").unlink()

    with pytest.raises(ModelIncomplete):
        export(str(model), tmp_path / "encoder", name="tiny")

    assert load_manifest(tmp_path / "encoder").name == "tiny"


def test_an_unknown_precision_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelNotSupported) as caught:
        export(DEFAULT_MODEL, tmp_path / "encoder", name="x", precision="int3")

    assert "int8" in str(caught.value.hint)


def test_auto_keeps_the_fastest_that_passes_and_says_what_was_tried_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "tokens_per_second", partial(tokens_per_second, seconds=0.1))

    manifest = export(str(tiny_bert(tmp_path / "model")), tmp_path / "encoder", name="tiny", precision="auto")

    assert manifest.tuning is not None
    speeds = {each.precision: each.tokens_per_second for each in manifest.tuning.candidates}
    assert list(speeds) == ["fp32", "int8", "int7"]
    assert manifest.precision == fastest({each: speed for each, speed in speeds.items() if speed})
    assert manifest.tuning.machine == this_machine()
    assert load_manifest(tmp_path / "encoder") == manifest


def test_tuning_writes_the_figures_where_the_encoder_itself_is_fastest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, manifest = _fp32(tmp_path)
    monkeypatch.setattr(exporter, "tokens_per_second", _speeds(fp32=9, int8=5, int7=5))

    tuned = tune(str(model), tmp_path / "encoder", manifest, elsewhere=_elsewhere(tmp_path), sample_texts=TEXTS)

    assert load_manifest(tmp_path / "encoder") == tuned
    assert tuned.tuning is not None
    assert tuned.digest == manifest.digest
    assert {path.name for path in tmp_path.iterdir()} == {"model", "encoder"}


def test_tuning_makes_another_encoder_where_another_precision_is_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, manifest = _fp32(tmp_path)
    monkeypatch.setattr(exporter, "tokens_per_second", _speeds(fp32=5, int8=9, int7=5))
    registered: list[Manifest] = []

    tuned = tune(
        str(model),
        tmp_path / "encoder",
        manifest,
        elsewhere=_elsewhere(tmp_path),
        sample_texts=TEXTS,
        register=registered.append,
    )

    assert (tuned.name, tuned.precision, registered) == ("tiny-int8", "int8", [tuned])
    assert tuned.digest != manifest.digest
    assert load_manifest(tmp_path / "tiny-int8") == tuned
    assert load_manifest(tmp_path / "encoder") == manifest


def test_tuning_with_another_model_is_refused(tmp_path: Path, minilm: BatchingEncoder) -> None:
    with pytest.raises(DigestMismatch):
        tune(str(tiny_bert(tmp_path / "m")), tmp_path / "e", minilm.manifest, elsewhere=_elsewhere(tmp_path))


def test_products_that_integers_would_ruin_stay_wide(tmp_path: Path) -> None:
    model = with_outlier(tiny_bert(tmp_path / "model"))

    manifest = export(str(model), tmp_path / "encoder", name="tiny", precision="int8")

    assert manifest.wide_products > 0
    assert manifest.parity is not None
    assert manifest.parity.texts == 16  # those that the products were not chosen on
    assert manifest.parity.mean_cosine >= 0.99


@pytest.mark.parametrize(
    ("precision", "figures", "passes"),
    [
        ("fp32", {"min_cosine": 0.99991}, True),
        ("fp32", {"min_cosine": 0.9998}, False),
        ("fp16", {"mean_cosine": 0.9991}, True),
        ("fp16", {"mean_cosine": 0.998}, False),
        ("int8", {"mean_cosine": 0.991, "overlap_at_10": 0.9}, True),
        ("int8", {"mean_cosine": 0.999, "overlap_at_10": 0.89}, False),
        ("int7", {"mean_cosine": 0.989}, False),
        ("int4", {"mean_cosine": 0.98}, False),
        ("int8", {"length_error": 0.09}, True),
        ("fp32", {"length_error": 0.2}, False),
    ],
)
def test_the_gate(precision, figures, passes) -> None:  # type: ignore[no-untyped-def]
    parity = _parity(**figures)

    if passes:
        assert require_quality(parity, precision, accept_loss=False) == parity
    else:
        with pytest.raises(QualityGateFailed, match="cosine"):
            require_quality(parity, precision, accept_loss=False)
        assert require_quality(parity, precision, accept_loss=True).is_accepted_loss


def test_a_text_is_none_of_its_own_neighbours() -> None:
    def on_a_circle(*degrees: float) -> Floats:
        return np.array([(np.cos(d), np.sin(d)) for d in np.radians(degrees)], dtype=np.float32)

    assert overlap(on_a_circle(0, 10, 30), on_a_circle(0, 30, 10), k=1) == 0  # 0-1, 1-0, 2-1; 0-2, 1-2, 2-0


def test_a_normalize_module_that_was_misread_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cosines are the same with and without it."""
    model = tiny_bert(tmp_path / "model")
    monkeypatch.setattr("ehrdb.encoder.candidates.describe", _normalized)

    with pytest.raises(QualityGateFailed, match="lengths differ"):
        export(str(model), tmp_path / "encoder", name="tiny", sample_texts=TEXTS)


def _normalized(*arguments: object) -> Manifest:
    return describe(*arguments).model_copy(update={"normalize": True})  # type: ignore[arg-type]


def test_verifying_repeats_the_comparison(minilm_directory: Path, minilm: BatchingEncoder) -> None:
    parity = verify(DEFAULT_MODEL, minilm_directory, minilm.manifest, ["Asthma", "Anemia"])

    assert (parity.texts, round(parity.min_cosine, 4)) == (2, 1)


def test_verifying_against_another_model_is_refused(tmp_path: Path, minilm: BatchingEncoder) -> None:
    with pytest.raises(DigestMismatch):
        verify(str(tiny_bert(tmp_path / "model")), tmp_path, minilm.manifest)


def mean_states(model: Path, texts: list[str]) -> Floats:
    """Transformers' own states, averaged over all tokens of each text."""
    tokenizer, bert = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()
    with torch.inference_mode():
        states = [bert(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in texts]
    return np.stack([state.mean(0).numpy() for state in states])


def _fp32(folder: Path) -> tuple[Path, Manifest]:
    model = tiny_bert(folder / "model")
    return model, export(str(model), folder / "encoder", name="tiny", sample_texts=TEXTS)


def _elsewhere(folder: Path) -> Callable[[Precision], tuple[str, Path]]:
    return lambda precision: (f"tiny-{precision}", folder / f"tiny-{precision}")


def _speeds(**known: float) -> Callable[..., dict[str, float]]:
    return lambda encoders, texts: {precision: known[precision] for precision in encoders}


def _parity(**figures: float) -> Parity:
    perfect = {"mean_cosine": 1.0, "min_cosine": 1.0, "overlap_at_10": 1.0, "tokens_per_second": 1.0}
    return Parity.model_validate({"texts": 2, "original_tokens_per_second": 1.0, **perfect, **figures})


def _change_config(model: Path, **changes: object) -> None:
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
