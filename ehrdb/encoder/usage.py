"""How a model wants to be used, as its own files say: the fields of the manifest that decide a vector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ehrdb.encoder.families import Family
from ehrdb.encoder.manifest import Chunking, ChunkPrefix, Pooling, PromptPosition
from ehrdb.encoder.modules import Modules, read_json
from ehrdb.encoder.prompts import START
from ehrdb.errors import ModelNotSupported

ENCODERS = (
    *("albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta"),
    "xlm-roberta",
)
ROTARY_ENCODERS = ("eurobert", "gte", "nomic_bert")
"""BERT-like too, but built like decoders; transformers 5 has them without remote code."""
LANGUAGE_MODELS = ("gemma3_text", "llama", "mistral", "qwen2", "qwen3")
DECODERS = LANGUAGE_MODELS + ROTARY_ENCODERS
"""What decoder.py traces."""
POSITIONS_FROM_PADDING = ("camembert", "mpnet", "roberta", "xlm-roberta")  # they count from the padding index on
TOKENS = 8192  # of a text by default at most, in one pass or over all chunks, as in the paper
RESERVED_TOKENS = 8  # of each chunk, as in the paper: 512 - 8 = 504


@dataclass(frozen=True)
class Usage:
    """How a model turns a text into a vector; the fields are the manifest's."""

    architecture: str
    pooling: Pooling
    chunking: Chunking
    normalize: bool
    dimension: int
    max_tokens: int
    chunk_tokens: int
    max_chunks: int
    prefix: str
    prompt_template: bool
    matryoshka_dimensions: tuple[int, ...]
    prompt_position: PromptPosition = "first"
    include_prompt: bool = True
    chunk_prefix: ChunkPrefix = "first"
    similarity: str = "cosine"


def read_usage(config: dict[str, Any], modules: Modules, family: Family, llm2vec: dict[str, Any] | None) -> Usage:
    """Put together what config.json, the modules' files and the model's family say. KeyError: config lacks a size."""
    is_language_model = config["model_type"] in LANGUAGE_MODELS
    usage = _language_model(config, modules) if is_language_model else _encoder(config, modules)
    if llm2vec is not None:
        usage = replace(usage, pooling=_llm2vec_pooling(llm2vec), normalize=modules.normalizes)
    has_template = is_language_model and _follows_instructions(modules, family)
    prefix = modules.default_prompt or ("" if has_template else family.prompt)
    dimension = modules.layers[-1].dimension if modules.layers else usage.dimension
    return with_prefix(
        replace(
            usage,
            dimension=dimension,
            include_prompt=modules.include_prompt,
            similarity=modules.similarity,
            prompt_template=has_template,
            matryoshka_dimensions=_matryoshka_dimensions(config, family, dimension),
        ),
        "" if prefix.startswith(START) else prefix,
    )


def with_prefix(usage: Usage, prefix: str) -> Usage:
    """The same with another prompt in front, of every chunk."""
    is_repeated = prefix and usage.chunking not in ("none", "unit_mean")
    return replace(usage, prefix=prefix, chunk_prefix="every" if is_repeated else "first")


def longest_input(config: dict[str, Any]) -> int:
    """Tokens that the model has positions for, special tokens included."""
    positions = int(config["max_position_embeddings"])
    if config["model_type"] not in POSITIONS_FROM_PADDING:
        return positions
    padding = config.get("pad_token_id")
    return positions - (1 if padding is None else int(padding)) - 1


def is_causal(config: dict[str, Any], llm2vec: dict[str, Any] | None) -> bool:
    """Whether a token sees only those before it: GTE and EmbeddingGemma say no in config.json, LLM2Vec by its file."""
    if config["model_type"] not in LANGUAGE_MODELS or llm2vec is not None:
        return False
    return bool(config.get("is_causal", True)) and not config.get("use_bidirectional_attention", False)


def _encoder(config: dict[str, Any], modules: Modules) -> Usage:
    architecture = config["model_type"]
    max_tokens = min(longest_input(config), TOKENS)
    return Usage(
        architecture=architecture,
        pooling=modules.pooling or "mean",
        chunking="mean",
        normalize=modules.normalizes,
        dimension=int(config["dim"] if architecture == "distilbert" else config["hidden_size"]),
        max_tokens=max_tokens,
        chunk_tokens=max_tokens - RESERVED_TOKENS,
        max_chunks=max(1, TOKENS // max_tokens),
        prefix="",
        prompt_template=False,
        matryoshka_dimensions=(),
    )


def _language_model(config: dict[str, Any], modules: Modules) -> Usage:
    pooling = modules.pooling or "last_token"
    max_tokens = min(longest_input(config), TOKENS)
    return Usage(
        architecture=config["model_type"],
        pooling=pooling,
        chunking="none",
        normalize=modules.normalizes or pooling == "last_token",
        dimension=int(config["hidden_size"]),
        max_tokens=max_tokens,
        chunk_tokens=max_tokens,
        max_chunks=1,
        prefix="",
        prompt_template=True,
        matryoshka_dimensions=(),
    )


def _follows_instructions(modules: Modules, family: Family) -> bool:
    """Unless its family says so, a language model does if it has no prompts of its own, or such ones."""
    if family.instructions is not None:
        return family.instructions
    own = [prompt for _, prompt in modules.prompts if prompt]
    return not own or any(prompt.startswith(START) for prompt in own)


def _matryoshka_dimensions(config: dict[str, Any], family: Family, dimension: int) -> tuple[int, ...]:
    declared = tuple(config.get("matryoshka_dimensions") or ())
    return declared or tuple(size for size in family.dimensions if size < dimension)


def _llm2vec_pooling(settings: dict[str, Any]) -> Pooling:
    """LLM2Vec's defaults, which its published models use: the mean over the text, the instruction left out."""
    mode, skips = settings.get("pooling_mode", "mean"), settings.get("skip_instruction", True)
    if mode != "mean":
        raise ModelNotSupported(f"llm2vec_config.json pools by {mode}", hint="Supported: mean.")
    return "mean_without_prompt" if skips else "mean"


def read_llm2vec(folder: Path) -> dict[str, Any] | None:
    """LLM2Vec's settings, where the folder is one of its models."""
    settings: dict[str, Any] | None = read_json(folder / "llm2vec_config.json")
    return settings
