"""Encoders at several precisions against sentence-transformers: the same model, texts and tokens.

    python bench/encoder.py [MODEL] [--precision fp32 --precision int8] [--tokens 512] [--file TEXTS.json]

Every contender runs in a process of its own (so that peak memory is its own), embeds the texts once to warm
up and then `--rounds` times; the median counts. Texts are cut beforehand to fit into one pass of all of them:
a loader that truncates at 128 tokens would look five times faster. `--file`: a JSON list of texts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ehrdb.encoder.parity import made_up_texts, overlap
from ehrdb.encoder.pooling import Floats


@dataclass(frozen=True)
class Outcome:
    """What one contender did."""

    seconds: float
    peak_mb: float
    vectors: Floats


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        _run_all(arguments, Path(folder))


def _run_all(arguments: argparse.Namespace, folder: Path) -> None:
    from ehrdb.encoder.export import export

    directories = {}
    for precision in arguments.precision:
        directories[precision] = folder / precision
        export(arguments.model, folder / precision, name="bench", precision=precision, accept_quality_loss=True)
    texts, tokens = _texts(arguments, directories[arguments.precision[0]])
    print(f"{arguments.model}: {len(texts)} texts, {tokens} tokens, {arguments.threads} threads")
    baseline = _isolated(_peer, arguments, texts, "torch", "float32")
    _print("sentence-transformers, torch fp32", baseline, baseline, tokens)
    for label, backend, kind in (("torch bf16", "torch", "bfloat16"), ("onnx fp32", "onnx", "float32")):
        if backend in arguments.peer or kind in arguments.peer:
            outcome = _isolated(_peer, arguments, texts, backend, kind)
            _print(f"sentence-transformers, {label}", outcome, baseline, tokens)
    for precision, directory in directories.items():
        _print(f"ehrdb {precision}", _isolated(_ours, arguments, texts, directory), baseline, tokens)


def _isolated(function: Callable[..., Outcome], *arguments: object) -> Outcome:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _ours(arguments: argparse.Namespace, texts: list[str], directory: Path) -> Outcome:
    from ehrdb.encoder.runtime import open_encoder

    encoder = open_encoder(directory, _manifest(arguments, directory), threads=arguments.threads)
    return _timed(arguments.rounds, lambda: encoder.encode(texts).vectors)


def _peer(arguments: argparse.Namespace, texts: list[str], backend: Any, kind: str) -> Outcome:
    import torch
    from sentence_transformers import SentenceTransformer

    from ehrdb.encoder.source import open_source

    torch.set_num_threads(arguments.threads)
    options = {"dtype": getattr(torch, kind)} if backend == "torch" else {"export": True}
    with open_source(arguments.model) as source:
        model = SentenceTransformer(str(source.folder), backend=backend, device="cpu", model_kwargs=options)
    model.max_seq_length = arguments.tokens
    model.tokenizer.pad_token = model.tokenizer.pad_token or model.tokenizer.eos_token
    return _timed(
        arguments.rounds,
        lambda: np.asarray(model.encode(texts, batch_size=arguments.batch, normalize_embeddings=True)),
    )


def _timed(rounds: int, embed: Callable[[], Floats]) -> Outcome:
    vectors = embed()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        embed()
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Outcome(median(seconds), peak, np.asarray(vectors, dtype=np.float32))


def _texts(arguments: argparse.Namespace, directory: Path) -> tuple[list[str], int]:
    """Texts cut so that none is longer than one pass of `--tokens`, and how many tokens they are."""
    from ehrdb.encoder.tokenization import TextTokenizer

    texts = json.loads(arguments.file.read_text()) if arguments.file else made_up_texts(arguments.texts)
    tokenizer = TextTokenizer(directory, _manifest(arguments, directory))
    cut = [_cut(tokenizer, text, arguments.tokens) for text in texts[: arguments.texts]]
    return cut, sum(text.token_count for text in tokenizer(cut))


def _cut(tokenizer: Any, text: str, tokens: int) -> str:
    lines = text.splitlines()
    while len(lines) > 1:
        (tokenized,) = tokenizer(["\n".join(lines)])
        if len(tokenized.chunks) == 1 and not tokenized.is_truncated:
            break
        lines = lines[: max(1, min(len(lines) - 1, len(lines) * tokens // (tokenized.token_count + 1)))]
    return "\n".join(lines)


def _manifest(arguments: argparse.Namespace, directory: Path) -> Any:
    from ehrdb.encoder.manifest import load_manifest

    manifest = load_manifest(directory)
    return manifest.model_copy(update={"max_tokens": min(arguments.tokens, manifest.max_tokens)})


def _print(label: str, outcome: Outcome, baseline: Outcome, tokens: int) -> None:
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (outcome.vectors, baseline.vectors))
    cosines = (a * b).sum(axis=1)
    print(
        f"{label:36} {tokens / outcome.seconds:8.0f} tokens/s  {baseline.seconds / outcome.seconds:5.2f}x  "
        f"{outcome.peak_mb:6.0f} MB  cosine {cosines.mean():.4f} (min {cosines.min():.4f})  "
        f"overlap@10 {overlap(a, b):.3f}",
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", action="append", choices=("fp32", "fp16", "int8", "int4"))
    parser.add_argument("--peer", action="append", default=[], choices=("onnx", "bfloat16"))
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file", type=Path)
    arguments = parser.parse_args()
    arguments.precision = arguments.precision or ["fp32", "int8"]
    return arguments


if __name__ == "__main__":
    main()
