"""A model, from a local folder or a hub, to an optimized ONNX graph with a manifest and proven parity."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import get_args

from ehrdb.encoder.graph import write_graph, write_tokenizer
from ehrdb.encoder.manifest import Chunking, Manifest, Parity, Pooling, Precision, PromptPosition
from ehrdb.encoder.original import original_encoder
from ehrdb.encoder.parity import measure, require_quality
from ehrdb.encoder.runtime import open_encoder
from ehrdb.encoder.source import DEFAULT_MODEL as DEFAULT_MODEL
from ehrdb.encoder.source import ModelSource, Usage, open_source
from ehrdb.encoder.writing import Register, describe, made_beside
from ehrdb.errors import DigestMismatch, ModelNotSupported

TOOLS = ("onnxruntime", "optimum-onnx", "torch", "transformers")


def export(
    model: str,
    directory: Path,
    *,
    name: str,
    precision: str = "fp32",
    pooling: Pooling | None = None,
    chunking: Chunking | None = None,
    max_tokens: int | None = None,
    dimension: int | None = None,
    prompt_position: PromptPosition = "first",
    sample_texts: Sequence[str] = (),
    accept_quality_loss: bool = False,
    register: Register = lambda manifest: None,
) -> Manifest:
    """Export `model` (folder, GGUF file or hub id) into `directory` and return its manifest.

    What is not said is read from the model's own files. `dimension` cuts the vectors of a Matryoshka model.
    Works in a folder beside and renames at the end, after `register` has accepted the manifest: `directory` is
    complete or untouched. Raises ModelNotSupported, ModelIncomplete or QualityGateFailed.
    """
    chosen = _precision(precision)
    with made_beside(directory) as work:
        with _quiet(), open_source(model) as source:
            usage = _adjusted(source.usage, pooling, chunking, max_tokens, dimension)
            usage = replace(usage, prompt_position=_prompt_position(source, usage, prompt_position))
            write_tokenizer(source, work)
            write_graph(source, work, chosen, shares_prefix=prompt_position == "last")
            manifest = describe(work, source, usage, name, chosen, TOOLS)
            parity = _compare(source, work, manifest, sample_texts)
        manifest = manifest.model_copy(update={"parity": require_quality(parity, chosen, accept_quality_loss)})
        manifest.save(work)
        register(manifest)
    return manifest


def verify(model: str, directory: Path, manifest: Manifest, sample_texts: Sequence[str] = ()) -> Parity:
    """Compare an encoder once more with the model it was made of; raises QualityGateFailed, DigestMismatch."""
    with _quiet(), open_source(model) as source:
        if source.weights_digest != manifest.weights_digest:
            raise DigestMismatch(
                f"{model} is not the model that {manifest.name} was made of", hint="Name the original model."
            )
        parity = _compare(source, directory, manifest, sample_texts)
    accepted = manifest.parity is not None and manifest.parity.is_accepted_loss
    return require_quality(parity, manifest.precision, accepted)


def _precision(precision: str) -> Precision:
    known: tuple[Precision, ...] = get_args(Precision)
    for candidate in known:
        if candidate == precision:
            return candidate
    raise ModelNotSupported(f"precision {precision} is not supported", hint=f"Choose of: {', '.join(known)}.")


def _adjusted(
    usage: Usage,
    pooling: Pooling | None,
    chunking: Chunking | None,
    max_tokens: int | None,
    dimension: int | None,
) -> Usage:
    """The model's own usage, but for what was asked for."""
    usage = replace(usage, pooling=pooling or usage.pooling, chunking=chunking or usage.chunking)
    if max_tokens:
        usage = replace(usage, max_tokens=min(max_tokens, usage.max_tokens))
        usage = replace(usage, chunk_tokens=min(usage.chunk_tokens, usage.max_tokens - 8))
    if usage.chunking == "concat":
        usage = replace(usage, dimension=usage.dimension * usage.max_chunks)
    if dimension and dimension != usage.dimension:
        if dimension not in usage.matryoshka_dimensions:
            known = ", ".join(map(str, usage.matryoshka_dimensions)) or "none"
            raise ModelNotSupported(
                f"the model was not trained to be cut to {dimension} dimensions",
                hint=f"Matryoshka dimensions in its config.json: {known}.",
            )
        usage = replace(usage, dimension=dimension)
    return usage


def _prompt_position(source: ModelSource, usage: Usage, position: PromptPosition) -> PromptPosition:
    if position == "last" and not (source.is_causal and usage.pooling == "last_token"):
        raise ModelNotSupported(
            "only a causal model with last-token pooling can read the instruction last",
            hint="Leave --prompt-position at first.",
        )
    return position


def _compare(source: ModelSource, work: Path, manifest: Manifest, sample_texts: Sequence[str]) -> Parity:
    return measure(open_encoder(work, manifest), original_encoder(source, work, manifest), sample_texts)


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn about what users cannot change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
