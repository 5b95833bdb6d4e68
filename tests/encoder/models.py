"""Tiny random models in the layouts that export reads."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
    Qwen3Config,
    Qwen3Model,
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
    modules = [{"idx": i, "type": f"sentence_transformers.models.{kind}"} for i, kind in enumerate(kinds)]
    modes = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}
    _write(folder / "modules.json", modules)
    _write(folder / "1_Pooling" / "config.json", {mode: key == pooling for key, mode in modes.items()})
    if prompt:
        settings = {"prompts": {"query": prompt}, "default_prompt_name": "query"}
        _write(folder / "config_sentence_transformers.json", settings)
    return folder


def tiny_qwen3(folder: Path, **changes: int) -> Path:
    """Qwen3-Embedding's kind: causal, with normalized queries and keys."""
    return _save(Qwen3Model, Qwen3Config(**{**GROUPED, "head_dim": 16, **changes}), folder)


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
    """A causal Mistral."""
    return _save(MistralModel, MistralConfig(**GROUPED, sliding_window=None), folder)


def tiny_llm2vec(folder: Path) -> Path:
    """LLM2Vec's kind: a Llama with attention in both directions."""
    _save(LlamaModel, LlamaConfig(**GROUPED), folder, template="<special> $A")
    _write(folder / "llm2vec_config.json", {"pooling_mode": "mean", "skip_instruction": True})
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
    _write(path, json.loads(path.read_text()) | {"post_processor": None})
    path = folder / "tokenizer_config.json"
    _write(path, json.loads(path.read_text()) | {"add_eos_token": True})
    return folder


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


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
