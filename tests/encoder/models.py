"""Tiny random models in the layouts that export reads."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
    Qwen3Config,
    Qwen3Model,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

SIZES: dict[str, Any] = {
    "vocab_size": 257,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
}
GROUPED: dict[str, Any] = {**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 1024}


def tiny_bert(
    folder: Path,
    *,
    pooling: str = "mean",
    normalize: bool = False,
    prompt: str | None = None,
    matryoshka: tuple[int, ...] = (),
) -> Path:
    """A BERT of two layers as a sentence-transformers folder."""
    _save(BertModel, BertConfig(**SIZES, matryoshka_dimensions=matryoshka), folder)
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    modes = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}
    write(folder / "modules.json", modules)
    settings: dict[str, Any] = {mode: key == pooling for key, mode in modes.items()}
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, **settings})
    if prompt:
        settings = {"prompts": {"query": prompt}, "default_prompt_name": "query"}
        write(folder / "config_sentence_transformers.json", settings)
    return folder


def tiny_qwen3(folder: Path, **changes: int) -> Path:
    """Qwen3-Embedding's kind: causal, with normalized queries and keys; long enough to be cut to 32 as on its card."""
    sizes = {**GROUPED, "hidden_size": 64, "head_dim": 16}
    return _save(Qwen3Model, Qwen3Config(**{**sizes, **changes}), folder)


def tiny_gte_qwen2(folder: Path) -> Path:
    """GTE-Qwen2's kind: attention in both directions."""
    return _save(Qwen2Model, Qwen2Config(**GROUPED, is_causal=False), folder)


def tiny_llama(folder: Path) -> Path:
    """A causal Llama, as SmolLM2 is."""
    return _save(LlamaModel, LlamaConfig(**GROUPED), folder)


def tiny_modernbert(folder: Path) -> Path:
    """ModernBERT's kind: rotary positions, attention to neighbours in all but every third layer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing it compiles something
        from transformers import ModernBertConfig, ModernBertModel
    config = ModernBertConfig(
        **{key: value for key, value in SIZES.items() if key != "initializer_range"},
        local_attention=16,
        global_attn_every_n_layers=2,
        reference_compile=False,
        pad_token_id=256,
        bos_token_id=256,
        eos_token_id=256,
        cls_token_id=256,
        sep_token_id=256,
    )
    return _save(ModernBertModel, config, folder)


def tiny_mistral(folder: Path) -> Path:
    """A causal Mistral, of one layer: PyTorch traces it sooner."""
    return _save(MistralModel, MistralConfig(**{**GROUPED, "num_hidden_layers": 1}, sliding_window=None), folder)


def tiny_llm2vec(folder: Path) -> Path:
    """LLM2Vec's kind: a Llama with attention in both directions."""
    _save(LlamaModel, LlamaConfig(**GROUPED), folder, template="<special> $A")
    write(folder / "llm2vec_config.json", {"pooling_mode": "mean", "skip_instruction": True})
    return folder


def tiny_gemma3(folder: Path) -> Path:
    """A causal Gemma 3: every other layer sees a window of 16 tokens only."""
    return _save(Gemma3TextModel, _gemma3(sliding_window=16), folder)


def tiny_embeddinggemma(folder: Path) -> Path:
    """EmbeddingGemma's kind: Gemma 3 in both directions, a mean, two Dense modules, prompts by name."""
    config = _gemma3(sliding_window=64, use_bidirectional_attention=True)  # halved whenever it is read
    _save(Gemma3TextModel, config, folder, "<special> $A <special>")
    prompts = {"query": "task: search result | query: ", "document": "title: none | text: "}
    return as_sentence_transformer(folder, dense=((32, 64, "Identity"), (64, 32, "Identity")), prompts=prompts)


def tiny_llama_both_ways(folder: Path) -> Path:
    """Nemotron's kind: a Llama in both directions, and a mean."""
    config = LlamaConfig(**{**GROUPED, "num_hidden_layers": 1}, is_causal=False)
    return as_sentence_transformer(_save(LlamaModel, config, folder))


def tiny_kalm(folder: Path) -> Path:
    """KaLM's kind: a Qwen2 in both directions, a mean, instructions among its prompts."""
    _save(Qwen2Model, Qwen2Config(**GROUPED, is_causal=False), folder)
    return as_sentence_transformer(folder, prompts={"query": "Instruct: Find it.\nQuery: "})


def tiny_deberta(folder: Path) -> Path:
    """DeBERTa's kind: positions relative to one another."""
    relative: dict[str, Any] = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
    return tiny_of("deberta-v2", folder, position_biased_input=False, **relative)


def tiny_bge_m3(folder: Path) -> Path:
    """BGE-M3's kind: XLM-RoBERTa, its first token's state."""
    return as_sentence_transformer(
        _save(XLMRobertaModel, XLMRobertaConfig(**SIZES, pad_token_id=1), folder), pooling="cls", normalize=True
    )


def tiny_roberta(folder: Path, padding: int) -> Path:
    """A RoBERTa that counts positions from another padding index on."""
    return _save(RobertaModel, RobertaConfig(**SIZES, pad_token_id=padding), folder)


def as_sentence_transformer(
    folder: Path,
    *,
    pooling: str = "mean",
    include_prompt: bool = True,
    dense: tuple[tuple[int, int, str], ...] = (),
    normalize: bool = False,
    prompts: dict[str, str] | None = None,
    default: str | None = None,
) -> Path:
    """Save a transformers folder as the installed sentence-transformers does."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

    torch.manual_seed(1)
    transformer = Transformer(str(folder))
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling, include_prompt)]
    modules += [Dense(i, o, activation_function=getattr(torch.nn, kind)()) for i, o, kind in dense]
    modules += [Normalize()] if normalize else []
    SentenceTransformer(modules=modules, prompts=prompts, default_prompt_name=default).save_pretrained(str(folder))
    return folder


def with_adapter(
    base: Path, folder: Path, seed: int = 0, *, head: bool = False, products: tuple[str, ...] = ("q_proj", "v_proj")
) -> Path:
    """A LoRA adapter of its own, on a folder with a model or with another adapter."""
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModel, AutoModelForCausalLM

    torch.manual_seed(seed)
    if (base / "adapter_config.json").is_file():
        under = json.loads((base / "adapter_config.json").read_text())["base_model_name_or_path"]
        model = PeftModel.from_pretrained(AutoModel.from_pretrained(under), base).merge_and_unload()
    else:
        model = (AutoModelForCausalLM if head else AutoModel).from_pretrained(base)
    settings = LoraConfig(r=4, target_modules=list(products), init_lora_weights=False)
    adapted = get_peft_model(model, settings)
    adapted.save_pretrained(folder)
    path = folder / "adapter_config.json"
    write(path, json.loads(path.read_text()) | {"base_model_name_or_path": str(base)})
    return folder


def tiny_of(architecture: str, folder: Path, **changes: Any) -> Path:
    """Of a class that only some versions of transformers have, or that warns as it is imported."""
    from transformers import AutoConfig, AutoModel

    sizes = GROUPED if architecture == "eurobert" else SIZES
    ids = {f"{kind}_token_id": 256 for kind in ("pad", "bos", "eos", "mask")}
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = AutoConfig.for_model(architecture, **{**sizes, **ids, **changes})
        AutoModel.from_config(config).save_pretrained(folder)
    _tokenizer("$A <special>").save_pretrained(folder)
    return folder


def with_sentencepiece_alone(folder: Path, words: str) -> Path:
    """deberta-v3's kind: a tokenizer trained on these words, as spm.model and nothing else."""
    import sentencepiece

    text = folder / "words.txt"
    text.write_text(words)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "spm"),
        vocab_size=60,
        minloglevel=2,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
    )
    for name in ("tokenizer.json", "special_tokens_map.json", "words.txt", "spm.vocab"):
        (folder / name).unlink()
    write(folder / "tokenizer_config.json", {"do_lower_case": False, "vocab_type": "spm"})
    return folder


def with_tokenizer_settings(folder: Path, **changes: object) -> Path:
    """Other settings in tokenizer_config.json; None takes one out, everywhere."""
    gone = {key for key, value in changes.items() if value is None}
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / name
        settings = json.loads(path.read_text()) | (changes if name == "tokenizer_config.json" else {})
        write(path, {key: value for key, value in settings.items() if key not in gone})
    return folder


def in_shards(folder: Path) -> Path:
    """Weights in several files, with an index."""
    model = BertModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="30KB")
    assert (folder / "model.safetensors.index.json").is_file()
    return folder


def in_pytorchs_format(folder: Path) -> Path:
    """Weights as PyTorch saves them."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def in_a_transformer_folder(folder: Path) -> Path:
    """The transformer in `0_Transformer`, as sentence-transformers once had it."""
    (folder / "0_Transformer").mkdir()
    for path in list(folder.iterdir()):
        if path.is_file() and path.name not in ("modules.json", "config_sentence_transformers.json", "README.md"):
            path.rename(folder / "0_Transformer" / path.name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    write(folder / "modules.json", modules)
    return folder


def copy(folder: Path, target: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(folder, target))


def with_outlier(folder: Path) -> Path:
    """Give a BERT a hidden unit that is always silent, but whose weights are so large that the others round to 0."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["encoder.layer.0.intermediate.dense.weight"][0] = 0
    weights["encoder.layer.0.intermediate.dense.bias"][0] = -20
    weights["encoder.layer.0.output.dense.weight"][:, 0] = 3000
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def with_nan(folder: Path) -> Path:
    """Spoil the weights of a saved model."""
    path = folder / "model.safetensors"
    weights = {name: torch.full_like(weight, float("nan")) for name, weight in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def without_end_token(folder: Path) -> Path:
    """Leave the end token to the settings, as GTE-Qwen2's tokenizer does, and remove it from the template."""
    path = folder / "tokenizer.json"
    write(path, json.loads(path.read_text()) | {"post_processor": None})
    path = folder / "tokenizer_config.json"
    write(path, json.loads(path.read_text()) | {"add_eos_token": True})
    return folder


def _gemma3(**changes: Any) -> Gemma3TextConfig:
    layers = ["sliding_attention", "full_attention"]
    return Gemma3TextConfig(**GROUPED, head_dim=16, layer_types=layers, **changes)


def _save(model: Any, config: Any, folder: Path, template: str = "$A <special>") -> Path:
    torch.manual_seed(0)
    model(config).save_pretrained(folder)
    _tokenizer(template).save_pretrained(folder)
    return folder


def _tokenizer(template: str) -> PreTrainedTokenizerFast:
    """Bytes as tokens, and one special token: behind every text, as Qwen3 has it, or before it, as Llama."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<special>"])
    special = [("<special>", len(alphabet))]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<special>", pad_token="<special>")


def write(path: Path, content: object) -> None:
    """JSON, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
