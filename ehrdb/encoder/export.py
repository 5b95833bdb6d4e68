"""A model, from a local folder or a hub, to an optimized ONNX graph with a manifest and proven parity."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

from ehrdb.encoder.candidates import Candidates, Export, comparable_texts
from ehrdb.encoder.machine import this_machine
from ehrdb.encoder.manifest import (
    Candidate,
    Chunking,
    Manifest,
    Parity,
    Pooling,
    Precision,
    PromptPosition,
    Tuning,
)
from ehrdb.encoder.original import original_encoder
from ehrdb.encoder.parity import measure, passes, reference, require_quality
from ehrdb.encoder.runtime import CPU, open_encoder
from ehrdb.encoder.source import DEFAULT_MODEL as DEFAULT_MODEL
from ehrdb.encoder.source import ModelSource, open_source
from ehrdb.encoder.tuning import candidates_on, fastest, tokens_per_second
from ehrdb.encoder.usage import RESERVED_TOKENS, TOKENS, Usage, with_prefix
from ehrdb.encoder.weights import require_finite, require_read
from ehrdb.encoder.writing import Register, place, workshop
from ehrdb.errors import DigestMismatch, ModelNotSupported

AUTO = "auto"


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
    `precision` auto: the fastest on this machine of those that pass the gate. Works in a folder beside and renames
    at the end, after `register` has accepted the manifest: `directory` is complete or untouched. Raises
    ModelNotSupported, ModelIncomplete or QualityGateFailed.
    """
    chosen = None if precision == AUTO else _precision(precision)
    with workshop(directory) as folder:
        with _quiet(), open_source(model, with_onnx=onnx is not None) as source:
            usage = _adjusted(source, pooling, chunking, max_tokens, dimension)
            usage = _prompted(source, usage, prompt, prompt_name)
            usage = replace(usage, prompt_position=_prompt_position(source, usage, prompt_position))
            require_finite(source)
            candidates = Candidates(source, usage, name, folder, sample_texts)
            require_read(source)
            if chosen or onnx:
                made = candidates.take(onnx) if onnx else candidates.make(chosen or "fp32")
                parity = require_quality(made.parity, made.manifest.precision, accept_quality_loss)
                manifest = made.manifest.model_copy(update={"parity": parity})
            else:
                made, manifest = _fastest(candidates, {}, (CPU,), 0)
        manifest.save(made.folder)
        register(manifest)
        place(made.folder, directory)
    return manifest


def tune(
    model: str,
    directory: Path,
    manifest: Manifest,
    *,
    elsewhere: Callable[[Precision], tuple[str, Path]],
    providers: Sequence[str] = (CPU,),
    threads: int = 0,
    sample_texts: Sequence[str] = (),
    register: Register = lambda manifest: None,
) -> Manifest:
    """Time an encoder against other precisions of its model on this machine; return the fastest one's manifest.

    If that is the encoder itself, the figures are written into its manifest. If not, the other one is another
    encoder: it goes under the name and into the folder that `elsewhere` gives for its precision, and to `register`.
    Raises DigestMismatch where `model` is not what the encoder was made of.
    """
    with workshop(directory) as folder:
        with _quiet(), open_source(model) as source:
            _require_same_model(source, model, manifest)
            usage = Usage(**{field.name: getattr(manifest, field.name) for field in fields(Usage)})
            candidates = Candidates(source, usage, manifest.name, folder, sample_texts)
            known = {manifest.precision: Export(directory, manifest, manifest.parity)} if manifest.parity else {}
            made, tuned = _fastest(candidates, known, providers, threads)
        if made.folder == directory:
            tuned.save(directory)
        else:
            name, target = elsewhere(tuned.precision)
            tuned = tuned.model_copy(update={"name": name})
            tuned.save(made.folder)
            register(tuned)
            place(made.folder, target)
    return tuned


def verify(
    model: str,
    directory: Path,
    manifest: Manifest,
    sample_texts: Sequence[str] = (),
    providers: Sequence[str] = (CPU,),
) -> Parity:
    """Compare an encoder, as it runs here, with the model it was made of; raises QualityGateFailed, DigestMismatch."""
    with _quiet(), open_source(model) as source:
        _require_same_model(source, model, manifest)
        texts = comparable_texts(directory, manifest, sample_texts)
        encoder = open_encoder(directory, manifest, providers)
        parity = measure(encoder, reference(original_encoder(source, manifest), texts))
    accepted = manifest.parity is not None and manifest.parity.is_accepted_loss
    return require_quality(parity, manifest.precision, accepted)


def _fastest(
    candidates: Candidates, known: Mapping[Precision, Export], providers: Sequence[str], threads: int
) -> tuple[Export, Manifest]:
    """The fastest export that passes the gate, and its manifest with the figures of all that were tried."""
    precisions = candidates_on(providers[0], candidates.is_decoder, known)
    exports = {precision: known.get(precision) or candidates.make(precision) for precision in precisions}
    passing = {p: made for p, made in exports.items() if made.parity.is_accepted_loss or passes(made.parity, p)}
    if not passing:
        precision, made = next(iter(exports.items()))
        require_quality(made.parity, precision, accept_loss=False)
    encoders = {p: open_encoder(made.folder, made.manifest, providers, threads) for p, made in passing.items()}
    speeds = tokens_per_second(encoders, candidates.reference.texts)
    chosen = exports[fastest(speeds)]
    figures = tuple(
        Candidate(
            precision=precision,
            mean_cosine=made.parity.mean_cosine,
            overlap_at_10=made.parity.overlap_at_10,
            tokens_per_second=speeds.get(precision),
        )
        for precision, made in exports.items()
    )
    tuning = Tuning(machine=this_machine(), providers=tuple(providers), candidates=figures)
    return chosen, chosen.manifest.model_copy(update={"parity": chosen.parity, "tuning": tuning})


def _require_same_model(source: ModelSource, model: str, manifest: Manifest) -> None:
    if source.weights_digest != manifest.weights_digest:
        raise DigestMismatch(
            f"{model} is not the model that {manifest.name} was made of", hint="Name the original model."
        )


def _precision(precision: str) -> Precision:
    known: list[Precision] = [each for each in get_args(Precision) if each != "served"]
    for candidate in known:
        if candidate == precision:
            return candidate
    raise ModelNotSupported(f"precision {precision} is not supported", hint=f"Choose of: {', '.join(known)}, {AUTO}.")


def _adjusted(
    source: ModelSource,
    pooling: Pooling | None,
    chunking: Chunking | None,
    max_tokens: int | None,
    dimension: int | None,
) -> Usage:
    """The model's own usage, but for what was asked for."""
    usage = source.usage
    if pooling == "served":
        raise ModelNotSupported("only an endpoint pools by itself", hint="Leave out --pooling, or name --endpoint.")
    usage = replace(usage, pooling=pooling or usage.pooling)
    if chunking:
        usage = _chunked(usage, chunking)
    if max_tokens:
        usage = _within(usage, max_tokens, source.longest_input)
    if usage.chunking == "unit_mean":
        usage = replace(usage, max_chunks=max(1, TOKENS // usage.max_tokens))
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


def _chunked(usage: Usage, chunking: Chunking) -> Usage:
    """Other chunks than the model's own; a language model reads a text whole, or the paper's chunks of it."""
    is_whole = usage.chunking == "none"
    if is_whole and chunking not in ("none", "unit_mean"):
        raise ModelNotSupported(
            f"a language model does not embed by --chunking {chunking}", hint="Leave it out, or take unit_mean."
        )
    if chunking == "unit_mean" and (not is_whole or usage.pooling == "mean_without_prompt"):
        raise ModelNotSupported(
            "--chunking unit_mean is for language models whose pooling counts the instruction", hint="Leave it out."
        )
    if chunking == "unit_mean":
        return replace(usage, chunking=chunking, normalize=False, chunk_tokens=usage.max_tokens - RESERVED_TOKENS)
    return replace(usage, chunking=chunking)


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
    is_one_pass = usage.chunking == "none" and usage.pooling == "last_token"
    if position == "last" and not (source.is_causal and is_one_pass):
        raise ModelNotSupported(
            "only a causal model with last-token pooling, in one pass, can read the instruction last",
            hint="Leave --prompt-position at first.",
        )
    return position


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
