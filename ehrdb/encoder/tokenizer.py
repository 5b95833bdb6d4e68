"""A model's tokenizer as its own library uses it, with what files leave to remote code or to other settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ehrdb.encoder.manifest import TOKENIZER
from ehrdb.encoder.source import ModelSource
from ehrdb.errors import ModelIncomplete


def write_tokenizer(source: ModelSource, work: Path) -> None:
    """Save the model's tokenizer in one file, that needs nothing but the tokenizers library. Raises ModelIncomplete."""
    from tokenizers.normalizers import Lowercase, Sequence

    backend = load_tokenizer(source).backend_tokenizer
    if source.modules.lowercases:
        backend.normalizer = Sequence([Lowercase(), *([backend.normalizer] if backend.normalizer else [])])
    backend.no_truncation()
    backend.no_padding()
    backend.save(str(work / TOKENIZER))


def load_tokenizer(source: ModelSource) -> Any:
    """The transformers tokenizer in `source`; raises ModelIncomplete where there is none, or no fast one."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source.folder, use_fast=True)
    except Exception as error:
        raise ModelIncomplete(
            f"{source.folder} has no usable tokenizer ({type(error).__name__})",
            hint=f"Save the model's fast tokenizer ({TOKENIZER}) beside its weights.",
        ) from None
    if not tokenizer.is_fast:
        raise ModelIncomplete(
            f"{source.folder} has a tokenizer ({type(tokenizer).__name__}) that runs in Python only",
            hint=f"Convert it to a fast tokenizer and save its {TOKENIZER} beside the weights.",
        )
    return complete(tokenizer)


def complete(tokenizer: Any) -> Any:
    """Append the end token where only the settings ask for it (GTE's own code does), and name something to pad with.

    A model without a padding token cannot be asked by its library at all, though a single text needs no padding.
    """
    from tokenizers.processors import TemplateProcessing

    ends = tokenizer("a")["input_ids"][-1] == tokenizer.eos_token_id
    if tokenizer.init_kwargs.get("add_eos_token") and not ends:
        eos = (tokenizer.eos_token, tokenizer.eos_token_id)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"$A {eos[0]}", special_tokens=[eos])
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer
