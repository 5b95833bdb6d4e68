"""Are a model's weights numbers, and does its architecture read all of them?

One NaN in a rarely seen token's row would otherwise wait for its patient; and a tensor that transformers leaves out,
with a warning at most, may be a layer that code of the model's own has: a comparison with transformers' vectors cannot
see that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from safetensors import safe_open

from ehrdb.encoder.source import OWN_CODE, WEIGHTS, ModelSource
from ehrdb.errors import ModelIncomplete, ModelNotSupported

_HEADS = re.compile(
    r"(lm_head|cls|classifier|score|qa_outputs|pooler|head|decoder|predictions|discriminator_predictions"
    r"|generator_predictions|generator_lm_head|vocab_\w+|sop_classifier|lm_predictions|mask_predictions|dropout)\."
    r"|.*\.(position_ids|inv_freq|masked_bias)$"
)
"""Beside the layers: what a model was trained for, and constants that older versions saved."""
_POOLER = re.compile(r"(.*\.)?pooler\.")
"""Checkpoints of language modelling have none; no token's state depends on it."""


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


def require_read(source: ModelSource) -> None:
    """Raise ModelNotSupported, naming a tensor, where transformers' class leaves weights out or lacks some.

    On the meta device names and shapes are compared and no number is kept.
    """
    try:
        _, told = transformers.AutoModel.from_pretrained(
            source.folder, output_loading_info=True, trust_remote_code=False, device_map="meta"
        )
    except Exception as error:  # a shard that is not there, a size that does not fit: each raises its own kind
        raise ModelIncomplete(
            f"the weights in {source.folder} do not load as {source.usage.architecture} ({type(error).__name__})",
            hint="Download the model again: are all files there that its index names?",
        ) from None
    unread = sorted(name for name in told["unexpected_keys"] if not _HEADS.match(name))
    missing = sorted(name for name in told["missing_keys"] if not _POOLER.match(name))
    if unread:
        raise ModelNotSupported(
            f"{source.folder} has weights that {source.usage.architecture} does not read "
            f"({len(unread)}: {unread[0]}, ...)",
            hint=OWN_CODE.format("the architecture as transformers has it"),
        )
    if missing:
        raise ModelIncomplete(
            f"{source.folder} lacks weights of {source.usage.architecture} ({len(missing)}: {missing[0]}, ...)",
            hint="Download the model again.",
        )


def _tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  # it is no dictionary
                yield name, file.get_tensor(name)
    else:
        for name, value in torch.load(path, map_location="cpu", weights_only=True, mmap=True).items():
            if isinstance(value, torch.Tensor):
                yield name, value
