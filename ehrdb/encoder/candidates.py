"""Exports of one model at several precisions, each compared with the original."""

from __future__ import annotations

import math
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ehrdb.encoder.graph import trace, write_graph
from ehrdb.encoder.integers import LEVELS, Feeds, by_error
from ehrdb.encoder.manifest import GRAPH, TOKENIZER, Manifest, Parity, Precision
from ehrdb.encoder.onnx_files import take_graph
from ehrdb.encoder.original import original_encoder
from ehrdb.encoder.parity import Reference, made_up_texts, measure, passes, reference, shortened
from ehrdb.encoder.prompts import prompt_for
from ehrdb.encoder.runtime import open_encoder
from ehrdb.encoder.source import ModelSource
from ehrdb.encoder.tokenization import TextTokenizer
from ehrdb.encoder.tokenizer import write_tokenizer
from ehrdb.encoder.usage import Usage
from ehrdb.encoder.writing import describe

TOOLS = ("onnxruntime", "optimum-onnx", "sentence-transformers", "torch", "transformers")
WIDENED = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Shares of the products that are kept at full precision, one after the other, until the gate passes."""


@dataclass(frozen=True)
class Export:
    """A folder with everything but its manifest, and that manifest; the gate has not judged it yet."""

    folder: Path
    manifest: Manifest
    parity: Parity


class Candidates:
    """Makes exports of `source` under `folder`; traces and the original's vectors are made once."""

    def __init__(self, source: ModelSource, usage: Usage, name: str, folder: Path, sample_texts: Sequence[str]) -> None:
        self._source = replace(source, usage=usage)
        self._usage = usage
        self._name = name
        self._folder = folder
        self._sample_texts = sample_texts
        self._tokenizer = folder / "tokenizer"
        self._tokenizer.mkdir()
        write_tokenizer(source, self._tokenizer)

    @property
    def is_decoder(self) -> bool:
        """Whether the model is one of those whose attention is fused for decoders."""
        return self._source.is_decoder

    def make(self, precision: Precision) -> Export:
        """An export at this precision; where integers miss the gate, the products they harm most stay wide."""
        made = self._make(precision)
        if precision in LEVELS and not passes(made.parity, precision):
            return self._widened(precision) or made
        return made

    def take(self, file: str) -> Export:
        """An export with a graph of the model's own."""
        work = self._folder / "taken"
        work.mkdir()
        shutil.copy(self._tokenizer / TOKENIZER, work)
        precision = take_graph(self._source, work, file, self._usage.pooling)
        manifest = self._describe(work, precision).model_copy(update={"row_scales": False})
        return Export(work, manifest, measure(open_encoder(work, manifest), self.reference))

    def _widened(self, precision: Precision) -> Export | None:
        """Products are chosen on every other text; the figures are those of the texts between."""
        positions = range(len(self.reference.texts))
        choosing, reporting = positions[::2], positions[1::2] or positions
        sensitive = by_error(self._traced(precision) / GRAPH, LEVELS[precision], self._runs(choosing))
        for share in WIDENED:
            wide = sensitive[: math.ceil(share * len(sensitive))]
            if passes(self._make(precision, wide, choosing).parity, precision):
                return self._make(precision, wide, reporting)
        return None

    def _make(self, precision: Precision, wide: Collection[str] = (), positions: Sequence[int] = ()) -> Export:
        work = self._folder / f"{precision}-{len(wide)}"
        if not work.is_dir():
            work.mkdir()
            shutil.copy(self._tokenizer / TOKENIZER, work)
            write_graph(self._source, self._traced(precision), work, precision, wide)
        manifest = self._describe(work, precision, len(wide))
        return Export(work, manifest, measure(open_encoder(work, manifest), self.reference, positions))

    @cached_property
    def reference(self) -> Reference:
        """The original's vectors of the sample texts."""
        manifest = self._describe(self._tokenizer, "fp32")
        texts = comparable_texts(self._tokenizer, manifest, self._sample_texts)
        return reference(original_encoder(self._source, manifest), texts)

    def _traced(self, precision: Precision) -> Path:
        """Decoders are traced once; what BERT-like models fuse depends on whether products become integers."""
        kind = "traced" if self._source.is_decoder or precision not in LEVELS else "traced-for-integers"
        folder = self._folder / kind
        if not folder.is_dir():
            trace(self._source, folder, precision, shares_prefix=self._usage.prompt_position == "last")
        return folder

    def _runs(self, positions: Sequence[int]) -> list[Feeds]:
        """What the traced graph takes for these texts, a chunk each."""
        tokenizer = TextTokenizer(self._tokenizer, self._describe(self._tokenizer, "fp32"))
        texts = tokenizer([self.reference.texts[i] for i in positions])
        return [_feeds(chunk.ids) for text in texts for chunk in text.chunks]

    def _describe(self, work: Path, precision: Precision, wide: int = 0) -> Manifest:
        manifest = describe(work, self._source, self._usage, self._name, precision, TOOLS)
        return manifest.model_copy(update={"row_scales": precision in LEVELS, "wide_products": wide})


def comparable_texts(directory: Path, manifest: Manifest, sample_texts: Sequence[str]) -> list[str]:
    """Texts that are one pass each, as libraries do not chunk; every other one with an instruction, if any has."""
    tokenizer = TextTokenizer(directory, manifest)
    texts = [tokenizer.first_pass(text) for text in shortened(list(sample_texts) or made_up_texts())]
    if not manifest.prompt_template:
        return texts
    prompt = prompt_for(None, "list_recent")
    return [prompt + text if index % 2 else text for index, text in enumerate(texts)]


def _feeds(tokens: list[int]) -> Feeds:
    ids = np.array([tokens], dtype=np.int64)
    zeros = np.zeros_like(ids)
    return {
        "input_ids": ids,
        "attention_mask": zeros + 1,
        "token_type_ids": zeros,
        "position_ids": np.arange(ids.size)[None],
        "visible": np.ones((1, 1, ids.size), dtype=np.bool_),
    }
