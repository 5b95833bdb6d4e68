from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("peft", reason="needs the export extra")
pytest.importorskip("onnxscript", reason="needs the export extra")

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from ehrdb.encoder.export import export
from ehrdb.encoder.pooling import Floats
from ehrdb.encoder.runtime import open_encoder
from ehrdb.encoder.source import open_source
from ehrdb.errors import ModelIncomplete, ModelNotSupported
from tests.encoder import models

pytestmark = pytest.mark.export
TEXT = "Heart failure"


def test_an_export_has_the_adapter_in_it(tmp_path: Path) -> None:
    base = models.tiny_roberta(tmp_path / "base", padding=5)
    adapter = models.with_adapter(base, tmp_path / "adapter", products=("query", "value"))

    manifest = export(str(adapter), tmp_path / "encoder", name="tiny", sample_texts=[TEXT, "Asthma"])

    ours = open_encoder(tmp_path / "encoder", manifest).encode([TEXT]).vectors[0]
    adapted = PeftModel.from_pretrained(AutoModel.from_pretrained(base), adapter)
    np.testing.assert_allclose(direction(ours), direction(mean_state(adapted, base)), atol=1e-4)
    assert np.abs(direction(ours) - direction(mean_state(AutoModel.from_pretrained(base), base))).max() > 0.01


def test_adapters_stand_on_one_another(tmp_path: Path) -> None:
    base = models.tiny_llm2vec(tmp_path / "base")
    first = models.with_adapter(base, tmp_path / "first", seed=1)
    second = models.with_adapter(first, tmp_path / "second", seed=2)

    with open_source(str(second)) as source:
        merged = AutoModel.from_pretrained(source.folder)
        assert source.is_llm2vec
        assert not source.is_causal

    under = PeftModel.from_pretrained(AutoModel.from_pretrained(base), first).merge_and_unload()
    whole = PeftModel.from_pretrained(under, second)
    np.testing.assert_allclose(mean_state(merged, base), mean_state(whole, base), atol=1e-4)


def test_an_adapter_of_a_model_with_a_head_is_merged_into_its_decoder(tmp_path: Path) -> None:
    base = models.tiny_llama(tmp_path / "base")
    adapter = models.with_adapter(base, tmp_path / "adapter", head=True)

    with open_source(str(adapter)) as source:
        merged = AutoModel.from_pretrained(source.folder)

    assert np.abs(mean_state(merged, base) - mean_state(AutoModel.from_pretrained(base), base)).max() > 0.01


def test_base_and_adapter_decide_the_digest(tmp_path: Path) -> None:
    base = models.tiny_llama(tmp_path / "base")
    digests = set()
    for model in (base, *(models.with_adapter(base, tmp_path / str(seed), seed=seed) for seed in (1, 2))):
        with open_source(str(model)) as source:
            digests.add(source.weights_digest)

    assert len(digests) == 3


def test_an_adapter_without_its_base_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    adapter = models.with_adapter(models.tiny_llama(tmp_path / "base"), tmp_path / "adapter")
    path = adapter / "adapter_config.json"
    models.write(path, json.loads(path.read_text()) | {"base_model_name_or_path": "nobody/nothing"})

    with (
        pytest.raises(ModelIncomplete, match=r"adapter_config\.json stands on nobody/nothing"),
        open_source(str(adapter)),
    ):
        pass


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    adapter = models.with_adapter(models.tiny_llama(tmp_path / "base"), tmp_path / "adapter")
    other = models.tiny_qwen3(tmp_path / "other", num_hidden_layers=1)
    path = adapter / "adapter_config.json"
    models.write(path, json.loads(path.read_text()) | {"base_model_name_or_path": str(other)})

    with pytest.raises(ModelNotSupported, match="does not fit"), open_source(str(adapter)):
        pass


@pytest.mark.filterwarnings("ignore:Found missing adapter keys")  # peft's own, which nobody sees
def test_an_adapter_whose_tensors_have_no_place_is_refused(tmp_path: Path) -> None:
    adapter = models.with_adapter(models.tiny_llama(tmp_path / "base"), tmp_path / "adapter")
    path = adapter / "adapter_model.safetensors"
    weights = load_file(path)
    save_file({name.replace("layers.1.", "layers.7."): weight for name, weight in weights.items()}, path)

    with pytest.raises(ModelNotSupported, match="tensors are on one side only"), open_source(str(adapter)):
        pass


def test_an_adapter_on_a_model_with_code_of_its_own_asks_nobody_and_is_refused(tmp_path: Path) -> None:
    """transformers would ask on the terminal whether to run it."""
    adapter = models.with_adapter(models.tiny_llama(tmp_path / "base"), tmp_path / "adapter")
    path = tmp_path / "base" / "config.json"
    own = {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Config", "AutoModel": "theirs.Model"}}
    models.write(path, json.loads(path.read_text()) | own)

    with pytest.raises(ModelNotSupported, match="which is code of the model's own"), open_source(str(adapter)):
        pass


def test_an_adapter_that_ends_early_is_named(tmp_path: Path) -> None:
    adapter = models.with_adapter(models.tiny_llama(tmp_path / "base"), tmp_path / "adapter")
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(ModelIncomplete, match=r"adapter_model\.safetensors cannot be read"), open_source(str(adapter)):
        pass


def mean_state(model: torch.nn.Module, tokenizer: Path) -> Floats:
    ids = AutoTokenizer.from_pretrained(tokenizer)(TEXT, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return np.asarray(model.eval()(input_ids=ids).last_hidden_state[0].mean(0).numpy())


def direction(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector))
