"""A sentence-transformers folder's own files: which modules it has, how it pools, what it puts in front.

Every generation of the format is read: `pooling_mode_mean_tokens: true` and, since 5.4, `pooling_mode: mean`; module
types named after any version's packages; the transformer in the folder itself or in `0_Transformer`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehrdb.encoder.manifest import Pooling
from ehrdb.errors import ModelIncomplete, ModelNotSupported

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
POOLINGS: dict[str, Pooling] = {
    "mean": "mean",
    "cls": "cls",
    "lasttoken": "last_token",
    "max": "max",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean": "weighted_mean",
}
ACTIVATIONS = {"Identity": "", "Tanh": "Tanh", "ReLU": "Relu", "Sigmoid": "Sigmoid"}
"""Of Dense modules: PyTorch's name and the ONNX operator's."""
KINDS = ("Transformer", "Pooling", "Dense", "LayerNorm", "Dropout", "Normalize")
_SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")


@dataclass(frozen=True)
class Layer:
    """A module behind the pooling. `kind`: Dense or LayerNorm; `activation`: an ONNX operator, or none."""

    kind: str
    folder: Path
    dimension: int
    activation: str = ""


@dataclass(frozen=True)
class Modules:
    """What the folder's files say. `transformer`: where config.json, tokenizer and weights are."""

    transformer: Path
    is_declared: bool = False
    pooling: Pooling | None = None
    include_prompt: bool = True
    layers: tuple[Layer, ...] = ()
    normalizes: bool = False
    prompts: tuple[tuple[str, str], ...] = ()
    default_prompt: str = ""
    similarity: str = "cosine"
    lowercases: bool = False


def read_modules(folder: Path) -> Modules:
    """Read the files, where there are any. Raises ModelNotSupported or ModelIncomplete naming file and value."""
    listed = read_json(folder / MODULES, list)
    prompts, default = _prompts(folder / SETTINGS)
    if listed is None:
        pooling, include = _pooling(folder / "1_Pooling" / "config.json")
        return Modules(folder, pooling=pooling, include_prompt=include, prompts=prompts, default_prompt=default)
    kinds = [_kind(module, folder) for module in listed]
    paths = [folder / module.get("path", "") for module in listed]
    _require_order(kinds, folder)
    pooling, include = _pooling(paths[1] / "config.json", is_required=True)
    return Modules(
        transformer=paths[0],
        is_declared=True,
        pooling=pooling,
        include_prompt=include,
        layers=tuple(_layer(kind, path) for kind, path in zip(kinds, paths, strict=True) if kind in _LAYERS),
        normalizes="Normalize" in kinds,
        prompts=prompts,
        default_prompt=default,
        similarity=_similarity(folder / SETTINGS),
        lowercases=bool((read_json(paths[0] / "sentence_bert_config.json") or {}).get("do_lower_case")),
    )


def read_json(path: Path, kind: type = dict) -> Any:
    """The file's content, or None where there is no such file. Raises ModelIncomplete where it is not JSON of the kind.

    A list is one of objects.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ModelIncomplete(f"{path} is not JSON", hint="Take the model's own file.") from None
    parts = content if kind is list and isinstance(content, list) else [content]
    if not isinstance(content, kind) or not all(isinstance(part, dict) for part in parts):
        wanted = "a list of objects" if kind is list else "an object"
        raise ModelIncomplete(f"{path} does not hold {wanted}", hint="Take the model's own file.")
    return content


def _kind(module: dict[str, Any], folder: Path) -> str:
    kind = str(module.get("type", "")).rsplit(".", 1)[-1]
    package = str(module.get("type", "")).split(".", 1)[0]
    if package != "sentence_transformers":
        raise ModelNotSupported(
            f"{folder / MODULES} names {module.get('type')}, which is code of the model's own",
            hint=f"ehrdb runs no code that comes with a model. Supported: {', '.join(KINDS)} of sentence_transformers.",
        )
    if kind not in KINDS:
        raise ModelNotSupported(f"{folder / MODULES} names {kind}", hint=f"Supported: {', '.join(KINDS)}.")
    return kind


def _require_order(kinds: list[str], folder: Path) -> None:
    if kinds[:2] != ["Transformer", "Pooling"] or "Normalize" in kinds[:-1] or kinds.count("Pooling") != 1:
        raise ModelNotSupported(
            f"{folder / MODULES} lists {', '.join(kinds)}",
            hint="Supported: Transformer, Pooling, any Dense, LayerNorm and Dropout, at last Normalize.",
        )


def _pooling(path: Path, is_required: bool = False) -> tuple[Pooling | None, bool]:
    """The mode and whether the prompt is pooled too."""
    config = read_json(path)
    if config is None and is_required:
        raise ModelIncomplete(f"{path} is missing", hint="Take the model's own file.")
    if config is None:
        return None, True
    modes = _modes(config)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ModelNotSupported(f"{path} pools by {', '.join(modes)}", hint=f"Supported: one of {', '.join(POOLINGS)}.")
    return POOLINGS[modes[0]], bool(config.get("include_prompt", True))


def _modes(config: dict[str, Any]) -> list[str]:
    """As sentence-transformers takes them: a name or several, older files a flag each, none at all the mean."""
    if "pooling_mode" in config:
        mode = config["pooling_mode"]
        return [mode] if isinstance(mode, str) else list(map(str, mode))
    flags = [key for key, is_on in config.items() if key.startswith("pooling_mode_") and is_on]
    names = [flag.removeprefix("pooling_mode_") for flag in flags]
    old = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max", "weightedmean_tokens": "weightedmean"}
    return [old.get(name, name) for name in names] or ["mean"]


def _layer(kind: str, folder: Path) -> Layer:
    config = read_json(folder / "config.json")
    if config is None:
        raise ModelIncomplete(f"{folder / 'config.json'} is missing", hint="Take the model's own file.")
    try:
        return _LAYERS[kind](folder, config)
    except (KeyError, TypeError, ValueError):
        raise ModelIncomplete(
            f"{folder / 'config.json'} does not say how many numbers {kind} gives", hint="Take the model's own file."
        ) from None


def _dense(folder: Path, config: dict[str, Any]) -> Layer:
    if config.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise ModelNotSupported(
            f"{folder / 'config.json'} works on {config['module_input_name']}", hint="Supported: sentence_embedding."
        )
    function = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    name = function.rsplit(".", 1)[-1]
    if not function.startswith("torch.") or name not in ACTIVATIONS:
        raise ModelNotSupported(
            f"{folder / 'config.json'} has the activation {function}", hint=f"Supported: {', '.join(ACTIVATIONS)}."
        )
    return Layer("Dense", folder, int(config["out_features"]), ACTIVATIONS[name])


def _layer_norm(folder: Path, config: dict[str, Any]) -> Layer:
    return Layer("LayerNorm", folder, int(config["dimension"]))


_LAYERS = {"Dense": _dense, "LayerNorm": _layer_norm}


def _prompts(path: Path) -> tuple[tuple[tuple[str, str], ...], str]:
    """All prompts by name, and the one that the library puts in front when it is asked for nothing else."""
    config = read_json(path) or {}
    declared = config.get("prompts") or {}
    if not isinstance(declared, dict):
        raise ModelIncomplete(f"{path} does not hold prompts by name", hint="Take the model's own file.")
    prompts = {str(name): str(prompt or "") for name, prompt in declared.items()}
    default = config.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ModelIncomplete(f"{path} has no prompt {default}, its default", hint="Take the model's own file.")
    return tuple(prompts.items()), prompts.get(default, "") if default else ""


def _similarity(path: Path) -> str:
    name = str((read_json(path) or {}).get("similarity_fn_name") or "cosine")
    if name not in _SIMILARITIES:
        raise ModelNotSupported(f"{path} compares by {name}", hint=f"Supported: {', '.join(_SIMILARITIES)}.")
    return name
