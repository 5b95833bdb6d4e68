"""Are a model's weights numbers at all? One NaN in a rarely seen token's row would otherwise wait for its patient."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open

from ehrdb.encoder.source import WEIGHTS, ModelSource
from ehrdb.errors import ModelIncomplete


def require_finite(source: ModelSource) -> None:
    """Raise ModelIncomplete, naming file and tensor, for NaN, infinity, or a file that cannot be read."""
    folders = [source.folder, *(layer.folder for layer in source.modules.layers)]
    for path in sorted({path for folder in folders for pattern in WEIGHTS for path in folder.glob(pattern)}):
        try:
            bad = next((name for name, tensor in _tensors(path) if not torch.isfinite(tensor).all()), None)
        except Exception as error:  # each format's reader raises its own kinds
            raise ModelIncomplete(
                f"{path} cannot be read ({type(error).__name__})", hint="Download the model again."
            ) from None
        if bad:
            raise ModelIncomplete(f"{path}: {bad} holds NaN or infinity", hint="Download the model again.")


def _tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  # it is no dictionary
                yield name, file.get_tensor(name)
    else:
        for name, value in torch.load(path, map_location="cpu", weights_only=True, mmap=True).items():
            if isinstance(value, torch.Tensor):
                yield name, value
