"""What a model's files say, and what is refused by name. Nothing is exported here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optimum.onnxruntime", reason="needs the export extra")

from safetensors.torch import load_file, save_file

from ehrdb.encoder import export as exporter
from ehrdb.encoder.families import families, family_of
from ehrdb.encoder.manifest import Pooling
from ehrdb.encoder.modules import read_modules
from ehrdb.encoder.source import open_source
from ehrdb.encoder.tokenizer import load_tokenizer
from ehrdb.encoder.usage import Usage
from ehrdb.encoder.weights import require_finite, require_read
from ehrdb.errors import EncoderError, ModelIncomplete, ModelNotSupported
from tests.encoder import models

pytestmark = pytest.mark.export


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.as_sentence_transformer(models.tiny_bert(tmp_path_factory.mktemp("models") / "bert"))


@pytest.fixture
def model(bert: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return models.copy(bert, tmp_path / "model")


@pytest.mark.parametrize(
    ("settings", "pooling"),
    [
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": ["lasttoken"]}, "last_token"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_weightedmean_tokens": True}, "weighted_mean"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean_sqrt_len"),
        ({"pooling_mode_lasttoken": True}, "last_token"),
        ({"pooling_mode": "cls", "pooling_mode_mean_tokens": True}, "cls"),
        ({"word_embedding_dimension": 32}, "mean"),
    ],
)
def test_poolings_of_every_generation(model: Path, settings: dict[str, Any], pooling: Pooling) -> None:
    models.write(model / "1_Pooling" / "config.json", settings)

    assert read_modules(model).pooling == pooling


def test_the_librarys_own_reading_is_the_same(model: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling as Theirs

    for settings in ({"pooling_mode": "max"}, {"pooling_mode_cls_token": True}, {"word_embedding_dimension": 32}):
        models.write(model / "1_Pooling" / "config.json", {"embedding_dimension": 32} | settings)

        assert read_modules(model).pooling == Theirs.load(str(model / "1_Pooling")).pooling_mode


def test_types_of_modules_are_known_by_every_versions_names(model: Path) -> None:
    modules = json.loads((model / "modules.json").read_text())
    for module in modules:
        module["type"] = "sentence_transformers.models." + module["type"].rsplit(".", 1)[-1]
    models.write(model / "modules.json", modules)

    assert read_modules(model).is_declared


@pytest.mark.parametrize(
    ("file", "content", "error", "says"),
    [
        ("config.json", {"model_type": "t5"}, ModelNotSupported, "config.json says model_type: t5"),
        (
            "config.json",
            {"model_type": "new", "auto_map": {"AutoModel": "modeling.NewModel"}},
            ModelNotSupported,
            r"model_type: new, which is code of the model's own \(NewModel\)",
        ),
        (
            "config.json",
            {"model_type": "llama_bidirec", "auto_map": {"AutoModel": "m.LlamaBidirectionalModel"}},
            ModelNotSupported,
            r"model_type: llama_bidirec, which is code of the model's own",
        ),
        (
            "config.json",
            {"position_embedding_type": "rotary", "auto_map": {"AutoModel": "modeling_lora.XLMRobertaLoRA"}},
            ModelNotSupported,
            "config.json says position_embedding_type: rotary",
        ),
        (
            "config.json",
            {"model_type": "llama", "auto_map": {"AutoModel": "m.LlamaBidirectionalModel"}},
            ModelNotSupported,
            r"class of the model's own \(m\.LlamaBidirectionalModel\) and does not say whether it is causal",
        ),
        (
            "config.json",
            {"model_type": "qwen3", "auto_map": {"AutoModelForCausalLM": "m.PPLXModel"}},
            ModelNotSupported,
            "does not say whether it is causal",
        ),
        ("config.json", {"max_position_embeddings": None}, ModelIncomplete, "config.json holds what is no size"),
        ("config.json", [1], ModelIncomplete, "config.json does not hold an object"),
        ("modules.json", ["Transformer"], ModelIncomplete, "modules.json does not hold a list of objects"),
        ("1_Pooling/config.json", [], ModelIncomplete, "Pooling/config.json does not hold an object"),
        (
            "config_sentence_transformers.json",
            {"prompts": ["query: "]},
            ModelIncomplete,
            "config_sentence_transformers.json does not hold prompts by name",
        ),
        (
            "modules.json",
            [{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.LSTM"}],
            ModelNotSupported,
            "modules.json names LSTM",
        ),
        ("modules.json", [{"type": "custom_st.Transformer"}], ModelNotSupported, "names custom_st.Transformer"),
        (
            "modules.json",
            [{"type": "sentence_transformers.models.Transformer"}],
            ModelNotSupported,
            "modules.json lists",
        ),
        (
            "1_Pooling/config.json",
            {"pooling_mode": "median"},
            ModelNotSupported,
            "Pooling/config.json pools by median",
        ),
        ("1_Pooling/config.json", {"pooling_mode": ["cls", "mean"]}, ModelNotSupported, "pools by cls, mean"),
        (
            "config_sentence_transformers.json",
            {"similarity_fn_name": "hamming"},
            ModelNotSupported,
            "config_sentence_transformers.json compares by hamming",
        ),
        (
            "config_sentence_transformers.json",
            {"default_prompt_name": "other"},
            ModelIncomplete,
            "config_sentence_transformers.json has no prompt other",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_by_file_and_name(
    model: Path, file: str, content: Any, error: type[EncoderError], says: str
) -> None:
    path = model / file
    models.write(path, json.loads(path.read_text()) | content if isinstance(content, dict) else content)

    with pytest.raises(error, match=says) as caught:
        usage_of(model)

    assert caught.value.hint


def test_an_architecture_that_this_transformers_lacks_names_its_version(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.CONFIG_MAPPING", {})
    path = model / "config.json"
    models.write(path, json.loads(path.read_text()) | {"model_type": "eurobert"})

    with pytest.raises(ModelNotSupported, match=r"model_type: eurobert, which transformers \d.* does not have"):
        usage_of(model)


def test_a_file_that_is_not_json_is_named(model: Path) -> None:
    (model / "modules.json").write_text("{")

    with pytest.raises(ModelIncomplete, match=r"modules\.json is not JSON"):
        usage_of(model)


@pytest.mark.parametrize("activation", ["torch.nn.modules.activation.GELU", "my.Tanh"])
def test_an_unknown_activation_is_refused(tmp_path: Path, activation: str) -> None:
    model = models.as_sentence_transformer(models.tiny_bert(tmp_path / "model"), dense=((32, 16, "Tanh"),))
    models.write(model / "2_Dense" / "config.json", {"out_features": 16, "activation_function": activation})

    with pytest.raises(ModelNotSupported, match=r"2_Dense/config\.json has the activation"):
        usage_of(model)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_weight_that_is_no_number_is_named(model: Path, value: str) -> None:
    weights = load_file(model / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][3] = float(value)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})

    with open_source(str(model)) as source, pytest.raises(ModelIncomplete, match=r"layer\.1\.output\.dense\.bias"):
        require_finite(source)


def test_a_truncated_weight_file_is_named(model: Path) -> None:
    data = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(data[: len(data) // 2])

    with open_source(str(model)) as source, pytest.raises(ModelIncomplete, match=r"model\.safetensors cannot be read"):
        require_finite(source)


def test_a_layer_that_only_code_of_the_models_own_has_is_refused(model: Path) -> None:
    """Voyage's kind: transformers would leave the projection out with a warning, and so would what an export is
    compared with."""
    weights = load_file(model / "model.safetensors")
    weights["linear.weight"] = weights["pooler.dense.weight"].clone()
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})

    with (
        open_source(str(model)) as source,
        pytest.raises(ModelNotSupported, match=r"does not read \(1: linear\.weight"),
    ):
        require_read(source)


def test_a_layer_that_is_missing_is_named(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})

    with open_source(str(model)) as source, pytest.raises(ModelIncomplete, match=r"lacks .*1\.output\.dense\.bias"):
        require_read(source)


def test_what_a_model_was_trained_for_may_be_there_or_not(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    own = {f"bert.{name}": weight for name, weight in weights.items() if not name.startswith("pooler.")}
    own["cls.predictions.transform.dense.weight"] = weights["pooler.dense.weight"].clone()
    save_file(own, model / "model.safetensors", metadata={"format": "pt"})

    with open_source(str(model)) as source:
        require_read(source)


def test_a_file_that_the_index_names_and_that_is_not_there_is_told(model: Path) -> None:
    (models.in_shards(model) / "model-00002-of-00002.safetensors").unlink(missing_ok=True)
    for shard in sorted(model.glob("model-0000[2-9]*.safetensors")):
        shard.unlink()

    with open_source(str(model)) as source, pytest.raises(ModelIncomplete, match="do not load as bert"):
        require_read(source)


@pytest.mark.parametrize("content", [{}, {"out_features": None}])
def test_a_module_that_does_not_say_its_size_is_named(tmp_path: Path, content: dict[str, Any]) -> None:
    model = models.as_sentence_transformer(models.tiny_bert(tmp_path / "model"), dense=((32, 16, "Tanh"),))
    models.write(model / "2_Dense" / "config.json", content)

    with pytest.raises(ModelIncomplete, match=r"2_Dense/config\.json does not say how many numbers Dense gives"):
        usage_of(model)


def test_the_weights_of_modules_decide_the_digest_too(tmp_path: Path) -> None:
    model = models.as_sentence_transformer(models.tiny_bert(tmp_path / "model"), dense=((32, 16, "Tanh"),))
    with open_source(str(model)) as source:
        before = source.weights_digest
    path = model / "2_Dense" / "model.safetensors"
    save_file({name: weight + 1 for name, weight in load_file(path).items()}, path)

    with open_source(str(model)) as source:
        assert source.weights_digest != before


def test_a_tokenizer_in_python_only_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        is_fast = False

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda *_, **__: Slow())

    with open_source(str(model)) as source, pytest.raises(ModelIncomplete, match="in Python only"):
        load_tokenizer(source)


@pytest.mark.parametrize(
    ("prompts", "default", "prefix", "has_template"),
    [
        ({}, None, "", True),
        ({"query": "Instruct: Find it.\nQuery: "}, None, "", True),
        ({"query": "Instruct: Find it.\nQuery: "}, "query", "", True),
        ({"query": "query: ", "document": "passage: "}, None, "", False),
        ({"query": "query: ", "document": "passage: "}, "document", "passage: ", False),
    ],
)
def test_a_language_model_follows_instructions_unless_its_prompts_are_others(
    tmp_path: Path, prompts: dict[str, str], default: str | None, prefix: str, has_template: bool
) -> None:
    model = models.tiny_qwen3(tmp_path / "model")
    models.write(model / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": default})

    usage = usage_of(model)

    assert (usage.prefix, usage.prompt_template) == (prefix, has_template)


@pytest.mark.parametrize(
    ("name", "prompt", "dimensions"),
    [
        ("intfloat/e5-base-v2", "query: ", ()),
        ("intfloat/multilingual-e5-large-instruct", "", ()),
        ("nomic-ai/nomic-embed-text-v1.5", "classification: ", (64, 128, 256, 512, 768)),
        ("nomic-ai/nomic-embed-text-v1", "classification: ", ()),
        ("google/embeddinggemma-300m", "task: classification | query: ", (128, 256, 512, 768)),
        ("sentence-transformers/all-MiniLM-L6-v2", "", ()),
    ],
)
def test_families_are_known_by_name(name: str, prompt: str, dimensions: tuple[int, ...]) -> None:
    family = family_of(name)

    assert (family.prompt, family.dimensions) == (prompt, dimensions)


def test_every_family_has_a_source() -> None:
    assert all(family.source.startswith("https://") for family in families())


def test_a_familys_prompt_stands_where_its_files_say_nothing(bert: Path, tmp_path: Path) -> None:
    usage = usage_of(models.copy(bert, tmp_path / "e5-small-v2"))

    assert (usage.prefix, usage.chunk_prefix) == ("query: ", "every")


def test_a_text_is_read_up_to_8192_tokens_unless_more_are_asked_for(tmp_path: Path) -> None:
    model = models.tiny_qwen3(tmp_path / "model", max_position_embeddings=32_768)

    with open_source(str(model)) as source:
        longer = exporter._adjusted(source, None, None, max_tokens=32_768, dimension=None)

    assert (source.usage.max_tokens, longer.max_tokens, longer.chunk_tokens) == (8192, 32_768, 32_768)


def test_more_tokens_than_the_model_has_positions_for_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotSupported, match="reads 512 tokens at most, not 513"):
        exporter.export(str(model), tmp_path / "encoder", name="tiny", max_tokens=513)


def test_positions_are_counted_from_the_padding_index_on(tmp_path: Path) -> None:
    with open_source(str(models.tiny_roberta(tmp_path / "model", padding=5))) as source:
        assert source.longest_input == 512 - 6


def test_an_unknown_prompt_names_those_that_are_known(tmp_path: Path) -> None:
    model = models.as_sentence_transformer(models.tiny_bert(tmp_path / "model"), prompts={"query": "query: "})

    with pytest.raises(ModelNotSupported, match="no prompt passage") as caught:
        exporter.export(str(model), tmp_path / "encoder", name="tiny", prompt_name="passage")

    assert "query" in str(caught.value.hint)


def usage_of(model: Path) -> Usage:
    with open_source(str(model)) as source:
        return source.usage
