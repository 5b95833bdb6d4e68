"""LoRA adapters, merged into the models they were trained on, however many stand on one another (LLM2Vec: two)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ehrdb.encoder.modules import read_json
from ehrdb.encoder.source import ADAPTER, WEIGHTS, download, require_supported, whole_model
from ehrdb.errors import EncoderError, ModelIncomplete, ModelNotSupported


@contextmanager
def merged(adapter: Path) -> Iterator[tuple[Path, str]]:
    """A folder with the whole model, and the digest of its base. Raises ModelIncomplete, ModelNotSupported."""
    with whole_model(_base(adapter)) as (base, digest), TemporaryDirectory() as temporary:
        folder = Path(temporary) / adapter.name
        _copy_settings(base, folder)
        _copy_settings(adapter, folder, but=("config.json", ADAPTER))
        _merge(base, adapter, folder)
        yield folder, digest


def _base(adapter: Path) -> Path:
    """What the adapter's file names: a folder (as it stands, or beside the adapter), or a hub id."""
    name = read_json(adapter / ADAPTER).get("base_model_name_or_path")
    if not name:
        raise ModelIncomplete(f"{adapter / ADAPTER} names no base model", hint="Merge it into its base with peft.")
    for folder in (Path(name), adapter / name, adapter.parent / name):
        if folder.is_dir():
            return folder
    try:
        return download(name)
    except EncoderError as error:
        raise ModelIncomplete(
            f"{adapter / ADAPTER} stands on {name}, which is neither a folder here nor could it be downloaded",
            hint=f"Put the base model where the file says, or name its folder there. {error.hint}",
        ) from None


def _copy_settings(folder: Path, target: Path, but: tuple[str, ...] = ()) -> None:
    """Everything but weights and what would lead back to remote code."""
    left_out = shutil.ignore_patterns(*WEIGHTS, "*.safetensors.index.json", "*.bin.index.json", "*.py", ".git*", *but)
    shutil.copytree(folder, target, ignore=left_out, dirs_exist_ok=True)


def _merge(base: Path, adapter: Path, target: Path) -> None:
    try:
        from peft import PeftModel
    except ModuleNotFoundError:
        raise EncoderError(
            f"{adapter} is an adapter: merging it needs peft", hint="pip install 'ehrdb[export]'"
        ) from None
    keys = _keys(adapter)
    model = _base_model(base, keys)
    try:
        with_adapter = PeftModel.from_pretrained(model, adapter)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelNotSupported(
            f"{adapter / ADAPTER} does not fit {base} ({type(error).__name__})", hint="Is it the adapter's own base?"
        ) from None
    _require_all(with_adapter, keys, adapter, base)
    whole = with_adapter.merge_and_unload()
    (whole.model if _has_head(keys) else whole).save_pretrained(target)


def _keys(adapter: Path) -> set[str]:
    from safetensors import SafetensorError, safe_open

    path = adapter / "adapter_model.safetensors"
    if not path.is_file():
        raise ModelNotSupported(f"{adapter} has no adapter_model.safetensors", hint="Save it anew with peft.")
    try:
        with safe_open(path, "pt") as tensors:
            return set(tensors.keys())
    except SafetensorError:
        raise ModelIncomplete(f"{path} cannot be read", hint="Download the adapter again.") from None


def _has_head(keys: set[str]) -> bool:
    """Whether the adapter was trained on a model with a language-model head, its decoder inside it."""
    return any(key.startswith("base_model.model.model.") for key in keys)


def _base_model(base: Path, keys: set[str]) -> Any:
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    config = base / "config.json"
    require_supported(config, read_json(config) or {})
    kind = AutoModelForCausalLM if _has_head(keys) else AutoModel
    try:
        return kind.from_pretrained(base, dtype=torch.float32, trust_remote_code=False)
    except (OSError, ImportError, ValueError) as error:
        raise ModelIncomplete(f"{base} cannot be loaded ({type(error).__name__})", hint="Download it again.") from None


def _require_all(model: Any, keys: set[str], adapter: Path, base: Path) -> None:
    """peft leaves out what does not fit, with a warning: then it would be another model without a word."""
    places = {name.replace(".modules_to_save.default", "").replace(".default", "") for name in model.state_dict()}
    unused = (keys - places) | ({place for place in places if ".lora_" in place} - keys)
    if unused:
        raise ModelNotSupported(
            f"{adapter} does not fit {base}: {len(unused)} tensors are on one side only ({min(unused)})",
            hint="Is it the adapter's own base?",
        )
