"""Exports against the vectors of the model's own library, model by model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("optimum.onnxruntime", reason="needs the export extra")
pytest.importorskip("sentence_transformers", reason="needs the export extra")

import torch
from sentence_transformers import SentenceTransformer
from transformers import CONFIG_MAPPING, AutoModel, AutoTokenizer

from ehrdb.encoder.candidates import Candidates
from ehrdb.encoder.export import export
from ehrdb.encoder.manifest import Manifest
from ehrdb.encoder.modules import read_modules
from ehrdb.encoder.pooling import Floats
from ehrdb.encoder.runtime import open_encoder
from ehrdb.errors import QualityGateFailed
from tests.encoder import models

pytestmark = pytest.mark.export
TEXTS = ["Asthma", "Creatinine (mg/dL): 1.1\nHeart failure", "Lupus\n" * 20]
PROMPT = "Represent the record: "
Make = Callable[[Path], Path]


@pytest.mark.parametrize(
    "settings",
    [
        {"pooling": "mean"},
        {"pooling": "cls"},
        {"pooling": "max", "normalize": True},
        {"pooling": "weightedmean"},
        {"pooling": "mean_sqrt_len_tokens", "dense": ((32, 16, "Tanh"), (16, 8, "Identity")), "normalize": True},
        {"pooling": "mean", "prompts": {"query": PROMPT}, "default": "query"},
        {"pooling": "mean", "prompts": {"query": PROMPT}, "default": "query", "include_prompt": False},
    ],
)
def test_a_sentence_transformers_folder_gives_the_librarys_vectors(tmp_path: Path, settings: dict[str, Any]) -> None:
    model = models.as_sentence_transformer(models.tiny_bert(tmp_path / "model"), **settings)

    ours, _ = exported(model, tmp_path)

    theirs = SentenceTransformer(str(model)).encode(TEXTS)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(
    "make",
    [models.tiny_embeddinggemma, models.tiny_bge_m3],
)
def test_models_of_current_families_give_their_librarys_vectors(tmp_path: Path, make: Make) -> None:
    model = make(tmp_path / "model")

    ours, _ = exported(model, tmp_path)

    np.testing.assert_allclose(ours, SentenceTransformer(str(model)).encode(TEXTS), atol=1e-4)


@pytest.mark.parametrize("make", [models.tiny_llama_both_ways, models.tiny_kalm])
def test_decoders_that_see_both_ways_and_average(tmp_path: Path, make: Make) -> None:
    model = make(tmp_path / "model")

    ours, manifest = exported(model, tmp_path)

    causal = SentenceTransformer(str(model)).encode(TEXTS)
    np.testing.assert_allclose(ours, states(model, both_ways=True), atol=1e-4)
    assert manifest.pooling == "mean"
    assert manifest.prompt_template
    assert np.abs(ours - causal).max() > 0.01 or CONFIG_MAPPING.get("gte")


@pytest.mark.parametrize("make", [models.tiny_gemma3])
def test_windows_of_attention_are_kept(tmp_path: Path, make: Make) -> None:
    model = make(tmp_path / "model")

    ours, _ = exported(model, tmp_path, pooling="mean")

    theirs = states(model)
    np.testing.assert_allclose(ours, theirs / np.linalg.norm(theirs, axis=1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize("make", [models.tiny_deberta, lambda folder: models.tiny_roberta(folder, padding=5)])
def test_encoders_with_positions_of_their_own_kind(tmp_path: Path, make: Make) -> None:
    model = make(tmp_path / "model")

    ours, _ = exported(model, tmp_path)

    np.testing.assert_allclose(ours, states(model), atol=1e-4)


@pytest.mark.parametrize("architecture", ["albert", "distilbert", "electra", "mpnet"])
def test_further_encoders_as_integers(tmp_path: Path, architecture: str) -> None:
    """ALBERT's layers share their weights."""
    model = models.tiny_of(architecture, tmp_path / "model")

    manifest = export(str(model), tmp_path / "e", name="tiny", precision="int8", sample_texts=TEXTS)

    assert manifest.parity is not None
    assert manifest.parity.min_cosine > 0.999


@pytest.mark.filterwarnings("ignore:The sentencepiece tokenizer")  # transformers': of bytes that it has no pieces for
def test_a_tokenizer_of_sentencepiece_alone_is_converted(tmp_path: Path) -> None:
    words = "\n".join([*TEXTS, *(f"finding {n} of the chest and value {n / 7:.2f}" for n in range(200))])
    model = models.with_sentencepiece_alone(models.tiny_deberta(tmp_path / "model"), words)

    ours, _ = exported(model, tmp_path)

    np.testing.assert_allclose(ours, states(model), atol=1e-4)


@pytest.mark.parametrize("architecture", ["eurobert", "gte", "nomic_bert"])
def test_rotary_encoders_where_transformers_has_them(tmp_path: Path, architecture: str) -> None:
    if architecture not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {architecture}")
    model = models.tiny_of(architecture, tmp_path / "model")

    ours, manifest = exported(model, tmp_path)

    np.testing.assert_allclose(ours, states(model), atol=1e-4)
    assert (manifest.chunking, manifest.prompt_template) == ("mean", False)


def test_the_gate_refuses_a_misread_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.as_sentence_transformer(
        models.tiny_bert(tmp_path / "model"), prompts={"query": PROMPT}, default="query", include_prompt=False
    )
    read = Candidates._describe

    def misread(*arguments: Any) -> Manifest:
        return read(*arguments).model_copy(update={"include_prompt": True})

    monkeypatch.setattr(Candidates, "_describe", misread)

    with pytest.raises(QualityGateFailed):
        exported(model, tmp_path)


def test_an_instruction_stands_in_front_of_modernbert(tmp_path: Path) -> None:
    model = models.tiny_modernbert(tmp_path / "model")

    ours, manifest = exported(model, tmp_path, prompt=PROMPT)

    assert manifest.prefix == PROMPT
    np.testing.assert_allclose(ours, states(model, prompt=PROMPT), atol=1e-4)


def test_a_prompt_is_chosen_by_its_name(tmp_path: Path) -> None:
    model = models.as_sentence_transformer(
        models.tiny_bert(tmp_path / "model"), prompts={"query": "query: ", "document": "passage: "}
    )

    ours, manifest = exported(model, tmp_path, prompt_name="document")

    assert manifest.prefix == "passage: "
    np.testing.assert_allclose(ours, SentenceTransformer(str(model)).encode(TEXTS, prompt_name="document"), atol=1e-4)


def test_text_is_put_into_lower_case_where_the_files_say_so(tmp_path: Path) -> None:
    model = models.as_sentence_transformer(models.tiny_bert(tmp_path / "model"))
    models.write(model / "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": True})
    assert read_modules(model).lowercases

    ours, _ = exported(model, tmp_path)

    np.testing.assert_allclose(ours, SentenceTransformer(str(model)).encode(TEXTS), atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"pad_token": None},
        {"model_max_length": int(1e30)},
    ],
)
def test_a_tokenizers_quirks_change_nothing(tmp_path: Path, changes: dict[str, object]) -> None:
    model = models.with_tokenizer_settings(models.tiny_bert(tmp_path / "model"), **changes)

    ours, _ = exported(model, tmp_path)

    np.testing.assert_allclose(ours, states(model), atol=1e-4)


@pytest.mark.parametrize("make", [models.in_shards, models.in_pytorchs_format, models.in_a_transformer_folder])
def test_weights_of_every_format_and_place_are_read(tmp_path: Path, make: Make) -> None:
    model = make(models.as_sentence_transformer(models.tiny_bert(tmp_path / "model")))

    ours, manifest = exported(model, tmp_path)

    np.testing.assert_allclose(ours, SentenceTransformer(str(model)).encode(TEXTS), atol=1e-4)
    assert manifest.parity is not None


def exported(model: Path, folder: Path, **options: Any) -> tuple[Floats, Manifest]:
    """The export's vectors of TEXTS; its own gate has passed."""
    manifest = export(str(model), folder / "encoder", name="tiny", sample_texts=TEXTS, **options)
    return open_encoder(folder / "encoder", manifest).encode(TEXTS).vectors, manifest


def states(model: Path, *, both_ways: bool = False, prompt: str = "") -> Floats:
    """Transformers' own states, averaged."""
    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()
    vectors = []
    for text in TEXTS:
        ids = tokenizer(prompt + text, return_tensors="pt")["input_ids"]
        mask = torch.zeros((1, 1, ids.shape[1], ids.shape[1])) if both_ways else torch.ones_like(ids)
        with torch.inference_mode():
            vectors.append(network(input_ids=ids, attention_mask=mask).last_hidden_state[0].mean(0).numpy())
    return np.stack(vectors)
