"""The vectors of a model's own library, to compare an export with.

A sentence-transformers folder is run by sentence-transformers, with its own tokenizer, prompts, pooling and modules;
any other folder by transformers. Nothing that ehrdb read of the model's settings is used but what was chosen against
them: a setting that is misread makes other vectors, and the export is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import torch
import transformers

from ehrdb.encoder import Encoded, in_order
from ehrdb.encoder.manifest import Manifest, Pooling
from ehrdb.encoder.modules import POOLINGS
from ehrdb.encoder.pooling import Floats
from ehrdb.encoder.prompts import END, START, prompt_behind, split_prompt
from ehrdb.encoder.source import ModelSource
from ehrdb.encoder.tokenizer import complete, load_tokenizer
from ehrdb.encoder.usage import LANGUAGE_MODELS

Embed = Callable[[str, str], Floats]
"""A prompt and the text behind it to one vector."""
READS_IS_CAUSAL = (5, 2)  # transformers from here on takes "is_causal": false in config.json
_STATES: dict[Pooling, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda states: states.mean(0),
    "cls": lambda states: states[0],
    "last_token": lambda states: states[-1],
    "max": lambda states: states.amax(0),
    "mean_sqrt_len": lambda states: states.sum(0) / len(states) ** 0.5,
    "weighted_mean": lambda states: torch.arange(1.0, len(states) + 1) @ states / sum(range(1, len(states) + 1)),
}


@dataclass(frozen=True)
class LibraryEncoder:
    """One text at a time, so that nothing is padded; texts are cut to the manifest's `max_tokens`.

    `scales`: whether vectors are of whatever length the manifest says, because the library leaves that to its caller.
    """

    manifest: Manifest
    embed: Embed
    scales: bool

    def encode(self, texts: Sequence[str]) -> Encoded:
        """All vectors in the order of `texts`; no tokens are counted."""
        return in_order(self.manifest.dimension, self.encode_batches(texts))

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Encoded]]:
        """A batch for each text."""
        for index, text in enumerate(texts):
            prompt, body = split_prompt(text)
            if self.manifest.prompt_position == "last":
                prompt, body = "", body + prompt_behind(prompt)
            vector = np.zeros((1, self.manifest.dimension), np.float32)
            whole = self.embed(prompt, body)
            values = whole[: self.manifest.dimension]
            if self.manifest.chunking == "unit_mean" or (
                self.manifest.normalize and (self.scales or len(values) < len(whole))
            ):
                values = values / np.linalg.norm(values)
            vector[0, : len(values)] = values  # joined chunks: texts in a comparison have one, the others are 0
            yield [index], Encoded(vector, np.zeros(1, np.int64), np.zeros(1, np.bool_))


def original_encoder(source: ModelSource, manifest: Manifest) -> LibraryEncoder:
    """The model in `source` at full precision, run by its own library."""
    if manifest.pooling == "mean_without_prompt":
        return LibraryEncoder(manifest, _llm2vec(source, manifest), scales=True)
    if source.modules.is_declared and not source.is_llm2vec:
        # The last token's state is always scaled to one, as in the paper, whatever the folder says.
        return LibraryEncoder(manifest, _sentence_transformers(source, manifest), manifest.pooling == "last_token")
    return LibraryEncoder(manifest, _transformers(source, manifest), scales=True)


def _sentence_transformers(source: ModelSource, manifest: Manifest) -> Embed:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(source.root), device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32}
    )
    complete(model.tokenizer)
    model.max_seq_length = manifest.max_tokens
    if manifest.pooling != source.modules.pooling:  # asked for with --pooling
        names = {ours: theirs for theirs, ours in POOLINGS.items()}
        model[1].pooling_mode = names[manifest.pooling]
    _see_both_ways(model[0].auto_model, source)
    chosen = None if manifest.prefix == source.modules.default_prompt else manifest.prefix

    def embed(prompt: str, text: str) -> Floats:
        # None: the library itself puts the model's default prompt in front, if it has one.
        given = (manifest.prefix + prompt) if prompt or manifest.prompt_template else chosen
        return np.asarray(model.encode([text], prompt=given, show_progress_bar=False)[0], dtype=np.float32)

    return embed


def _transformers(source: ModelSource, manifest: Manifest) -> Embed:
    states_of, pool = _states(source, manifest), _STATES[manifest.pooling]
    return lambda prompt, text: np.asarray(pool(states_of(manifest.prefix + prompt + text)), dtype=np.float32)


def _llm2vec(source: ModelSource, manifest: Manifest) -> Embed:
    """As LLM2Vec's `encode` does it with [instruction, text] pairs; its package needs a transformers of 2024."""
    states_of, tokenizer = _states(source, manifest), load_tokenizer(source)

    def embed(prompt: str, text: str) -> Floats:
        instruction = prompt.removeprefix(START).removesuffix(END).strip(".") + ": " if prompt else ""
        states = states_of(instruction + text)
        own = len(tokenizer(text, add_special_tokens=False)["input_ids"]) if prompt else len(states)
        return np.asarray(states[-own:].mean(0), dtype=np.float32)

    return embed


def _states(source: ModelSource, manifest: Manifest) -> Callable[[str], torch.Tensor]:
    model = transformers.AutoModel.from_pretrained(source.folder, dtype=torch.float32).eval()
    taken = set(signature(model.forward).parameters)
    _see_both_ways(model, source)
    tokenizer = load_tokenizer(source)

    def states_of(text: str) -> torch.Tensor:
        tokens = tokenizer(text, truncation=True, max_length=manifest.max_tokens, return_tensors="pt")
        given = {name: value for name, value in tokens.items() if name in taken}
        with torch.inference_mode():
            states: torch.Tensor = model(**given).last_hidden_state[0]
        return states

    return states_of


def _see_both_ways(model: Any, source: ModelSource) -> None:
    """Where the library has that in code of the model's own: it takes a mask of four dimensions as it is."""
    does_so_itself = getattr(model.config, "use_bidirectional_attention", False) or (
        _version() >= READS_IS_CAUSAL and getattr(model.config, "is_causal", True) is False
    )
    if source.is_causal or source.usage.architecture not in LANGUAGE_MODELS or does_so_itself:
        return

    forward = model.forward  # sentence-transformers calls it by name, past any hook

    def both_ways(input_ids: torch.Tensor, attention_mask: object = None, **others: Any) -> Any:
        tokens = input_ids.shape[1]
        return forward(input_ids=input_ids, attention_mask=torch.zeros((1, 1, tokens, tokens)), **others)

    model.forward = both_ways


def _version() -> tuple[int, ...]:
    return tuple(int(part) for part in transformers.__version__.split(".")[:2])
