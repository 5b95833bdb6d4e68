"""A model, from a local folder or a hub, to an optimized ONNX graph with a manifest and proven parity."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import get_args

from ehrdb.encoder.graph import write_graph
from ehrdb.encoder.manifest import Chunking, Manifest, Parity, Pooling, Precision, PromptPosition
from ehrdb.encoder.onnx_files import take_graph
from ehrdb.encoder.original import original_encoder
from ehrdb.encoder.parity import made_up_texts, measure, require_quality, shortened
from ehrdb.encoder.prompts import prompt_for
from ehrdb.encoder.runtime import open_encoder
from ehrdb.encoder.source import DEFAULT_MODEL as DEFAULT_MODEL
from ehrdb.encoder.source import ModelSource, open_source
from ehrdb.encoder.tokenization import TextTokenizer
from ehrdb.encoder.tokenizer import write_tokenizer
from ehrdb.encoder.usage import RESERVED_TOKENS, Usage, with_prefix
from ehrdb.encoder.weights import require_finite
from ehrdb.encoder.writing import Register, describe, made_beside
from ehrdb.errors import DigestMismatch, ModelNotSupported

TOOLS = ("onnxruntime", "optimum-onnx", "sentence-transformers", "torch", "transformers")


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
    prompt: str | None = None,
    prompt_name: str | None = None,
    prompt_position: PromptPosition = "first",
    onnx: str | None = None,
    sample_texts: Sequence[str] = (),
    accept_quality_loss: bool = False,
    register: Register = lambda manifest: None,
) -> Manifest:
    """Export `model` (folder, GGUF file or hub id) into `directory` and return its manifest.

    What is not said is read from the model's own files. `dimension` cuts the vectors of a Matryoshka model;
    `prompt` is put in front of every text, `prompt_name` is that of one of the model's own prompts. `onnx`: a file
    of the model's (onnx/model_quantized.onnx) to take as it is instead of making a graph; `precision` is then its.
    Works in a folder beside and renames at the end, after `register` has accepted the manifest: `directory` is
    complete or untouched. Raises ModelNotSupported, ModelIncomplete or QualityGateFailed.
    """
    chosen = _precision(precision)
    with made_beside(directory) as work:
        with _quiet(), open_source(model, with_onnx=onnx is not None) as source:
            usage = _adjusted(source, pooling, chunking, max_tokens, dimension)
            usage = _prompted(source, usage, prompt, prompt_name)
            usage = replace(usage, prompt_position=_prompt_position(source, usage, prompt_position))
            require_finite(source)
            write_tokenizer(source, work)
            if onnx:
                chosen = take_graph(source, work, onnx, usage.pooling)
            else:
                write_graph(replace(source, usage=usage), work, chosen, shares_prefix=prompt_position == "last")
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
    source: ModelSource,
    pooling: Pooling | None,
    chunking: Chunking | None,
    max_tokens: int | None,
    dimension: int | None,
) -> Usage:
    """The model's own usage, but for what was asked for."""
    usage = source.usage
    usage = replace(usage, pooling=pooling or usage.pooling, chunking=chunking or usage.chunking)
    if max_tokens:
        usage = _within(usage, max_tokens, source.longest_input)
    if usage.chunking == "concat":
        usage = replace(usage, dimension=usage.dimension * usage.max_chunks)
    if dimension and dimension != usage.dimension:
        if dimension not in usage.matryoshka_dimensions:
            known = ", ".join(map(str, usage.matryoshka_dimensions)) or "none"
            raise ModelNotSupported(
                f"the model was not trained to be cut to {dimension} dimensions",
                hint=f"Matryoshka dimensions that its files or its family name: {known}.",
            )
        usage = replace(usage, dimension=dimension)
    return usage


def _within(usage: Usage, max_tokens: int, longest: int) -> Usage:
    """Another length of one pass, up to what the model has positions for."""
    if max_tokens > longest:
        raise ModelNotSupported(
            f"the model reads {longest} tokens at most, not {max_tokens}", hint="Lower --max-tokens."
        )
    chunk = max_tokens if usage.chunking == "none" else max_tokens - RESERVED_TOKENS
    chunk = min(usage.chunk_tokens, chunk) if max_tokens <= usage.max_tokens else chunk
    return replace(usage, max_tokens=max_tokens, chunk_tokens=chunk)


def _prompted(source: ModelSource, usage: Usage, prompt: str | None, name: str | None) -> Usage:
    """With the prompt that was asked for, or the model's own; long chunks leave room for it."""
    prompts = dict(source.modules.prompts)
    if name is not None and name not in prompts:
        known = ", ".join(prompts) or "none"
        raise ModelNotSupported(f"the model has no prompt {name}", hint=f"Its prompts: {known}. Or give --prompt TEXT.")
    chosen = prompts[name] if name is not None else prompt
    return with_prefix(usage, usage.prefix if chosen is None else chosen)


def _prompt_position(source: ModelSource, usage: Usage, position: PromptPosition) -> PromptPosition:
    if position == "last" and not (source.is_causal and usage.pooling == "last_token"):
        raise ModelNotSupported(
            "only a causal model with last-token pooling can read the instruction last",
            hint="Leave --prompt-position at first.",
        )
    return position


def _compare(source: ModelSource, work: Path, manifest: Manifest, sample_texts: Sequence[str]) -> Parity:
    texts = _comparable(work, manifest, sample_texts)
    return measure(open_encoder(work, manifest), original_encoder(source, manifest), texts)


def _comparable(work: Path, manifest: Manifest, sample_texts: Sequence[str]) -> list[str]:
    """Texts that are one pass each, as libraries do not chunk; every other one with an instruction, if any has."""
    tokenizer = TextTokenizer(work, manifest)
    texts = [tokenizer.first_pass(text) for text in shortened(list(sample_texts) or made_up_texts())]
    if not manifest.prompt_template:
        return texts
    prompt = prompt_for(None, "list_recent")
    return [prompt + text if index % 2 else text for index, text in enumerate(texts)]


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
