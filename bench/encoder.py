"""Encoders at several precisions against sentence-transformers: the same model, texts and tokens.

    python bench/encoder.py [MODEL] [--precision fp32 --precision int8] [--tokens 512] [--file TEXTS.json]

Every contender has a process of its own (so that peak memory is its own) and embeds the texts once to warm
up. Then they take turns, `--rounds` times, so that whatever else the machine does meets all of them; medians
count. Texts are cut beforehand to fit into one pass of all of them: a loader that truncates at 128 tokens
would look five times faster. `--file`: a JSON list of texts. `--peer optimum` is Optimum's plain export, one text
a run. `--bare` adds the same graph without the runtime around it: session calls on ready-made batches.
`--provider cuda` runs everything on the GPU (needs onnxruntime-gpu and a CUDA build of torch).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ehrdb.encoder.manifest import Pooling
from ehrdb.encoder.parity import made_up_texts, overlap
from ehrdb.encoder.pooling import Floats


@dataclass(frozen=True)
class Contender:
    """One way to embed, alive in a process of its own."""

    label: str
    pool: Pool
    vectors: Floats
    seconds: list[float]


_embed: Callable[[], Floats]  # of this process


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        _run_all(arguments, Path(folder))


def _run_all(arguments: argparse.Namespace, folder: Path) -> None:
    directories = {precision: folder / precision for precision in arguments.precision}
    with get_context("spawn").Pool(1) as pool:
        pool.starmap(_export, [(arguments.model, *each) for each in directories.items()])
    texts, tokens = _texts(arguments, directories[arguments.precision[0]])
    print(f"{arguments.model}: {len(texts)} texts, {tokens} tokens, {arguments.threads} threads")
    contenders = [
        _contender("optimum", _optimum, arguments, texts)
        if peer == "optimum"
        else _contender(f"sentence-transformers {peer}", _peer, arguments, texts, peer)
        for peer in _peers(arguments)
    ]
    for precision, directory in directories.items():
        contenders.append(_contender(f"ehrdb {precision}", _ours, arguments, texts, directory))
        if arguments.bare:
            contenders.append(_contender(f"bare session {precision}", _bare, arguments, texts, directory))
    for _ in range(arguments.rounds):
        for contender in contenders:
            contender.seconds.append(contender.pool.apply(_round))
    for contender in contenders:
        _print(contender, contenders[0], tokens)
        contender.pool.terminate()


def _peers(arguments: argparse.Namespace) -> list[str]:
    return ["torch-float32", *arguments.peer]


def _contender(label: str, start: Callable[..., Floats], *arguments: object) -> Contender:
    pool = get_context("spawn").Pool(1)
    return Contender(label, pool, pool.apply(start, arguments), [])


def _round() -> float:
    started = time.perf_counter()
    _embed()
    return time.perf_counter() - started


def _peak_mb() -> float:
    """Peak resident memory of this process alone (getrusage's figure is inherited from the parent)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _export(model: str, precision: str, directory: Path) -> None:
    from ehrdb.encoder.export import export
    from ehrdb.encoder.source import open_source

    with open_source(model) as source:  # a plain folder: sentence-transformers would average
        pooling: Pooling | None = None if (source.folder / "modules.json").is_file() else "mean"
    short = ["Asthma"]  # fidelity is measured below, on all texts
    export(
        model,
        directory,
        name="bench",
        precision=precision,
        pooling=pooling,
        sample_texts=short,
        accept_quality_loss=True,
    )


def _ours(arguments: argparse.Namespace, texts: list[str], directory: Path) -> Floats:
    encoder = _encoder(arguments, directory)
    return _start(lambda: np.asarray(encoder.encode(texts).vectors))


def _bare(arguments: argparse.Namespace, texts: list[str], directory: Path) -> Floats:
    """The calls that the encoder made, made again."""
    encoder = _encoder(arguments, directory)
    calls: list[tuple[Any, ...]] = []
    forward = encoder._forward

    def recorded(*call: Any) -> Any:
        calls.append(call)
        return forward(*call)

    encoder._forward = recorded
    vectors = encoder.encode(texts).vectors
    workers = ThreadPoolExecutor(arguments.threads if arguments.provider == "cpu" else 1)

    def embed() -> Floats:
        list(workers.map(lambda call: forward(*call), calls))
        return np.asarray(vectors)

    return _start(embed)


def _encoder(arguments: argparse.Namespace, directory: Path) -> Any:
    from ehrdb.encoder.runtime import open_encoder

    provider = f"{arguments.provider.upper()}ExecutionProvider"
    return open_encoder(directory, _manifest(arguments, directory), [provider], arguments.threads)


def _optimum(arguments: argparse.Namespace, texts: list[str]) -> Floats:
    """Optimum's own export of a decoder, mean pooling."""
    import onnxruntime
    from optimum.exporters.onnx import main_export
    from transformers import AutoTokenizer

    from ehrdb.encoder.source import open_source

    with open_source(arguments.model) as source, tempfile.TemporaryDirectory() as folder:
        main_export(str(source.folder), folder, task="feature-extraction", do_validation=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = arguments.threads
        session = onnxruntime.InferenceSession(str(Path(folder) / "model.onnx"), options)
        tokenizer = AutoTokenizer.from_pretrained(source.folder)
    names = {node.name for node in session.get_inputs()}

    def embed_one(text: str) -> Floats:
        ids = np.array([tokenizer(text)["input_ids"]])
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(ids.size)[None]}
        states = session.run(None, {name: value for name, value in given.items() if name in names})[0]
        return np.asarray(states[0].mean(axis=0))

    return _start(lambda: np.stack([embed_one(text) for text in texts]))


def _peer(arguments: argparse.Namespace, texts: list[str], peer: str) -> Floats:
    import torch
    from sentence_transformers import SentenceTransformer

    from ehrdb.encoder.source import open_source

    torch.set_num_threads(arguments.threads)
    backend, _, kind = peer.partition("-")
    options = {"dtype": getattr(torch, kind)} if kind else {"export": True}
    with open_source(arguments.model) as source:
        model = SentenceTransformer(
            str(source.folder), backend=backend, device=arguments.provider, model_kwargs=options
        )
    model.max_seq_length = arguments.tokens
    model.tokenizer.pad_token = model.tokenizer.pad_token or model.tokenizer.eos_token
    return _start(
        lambda: np.asarray(model.encode(texts, batch_size=arguments.batch, normalize_embeddings=True)),
    )


def _start(embed: Callable[[], Floats]) -> Floats:
    global _embed
    _embed = embed
    return embed()


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


def _print(contender: Contender, baseline: Contender, tokens: int) -> None:
    a, b = (each.vectors / np.linalg.norm(each.vectors, axis=1, keepdims=True) for each in (contender, baseline))
    cosines = (a * b).sum(axis=1)
    seconds = median(contender.seconds)
    print(
        f"{contender.label:36} {tokens / seconds:8.0f} tokens/s  {median(baseline.seconds) / seconds:5.2f}x  "
        f"{contender.pool.apply(_peak_mb):6.0f} MB  cosine {cosines.mean():.4f} (min {cosines.min():.4f})  "
        f"overlap@10 {overlap(a, b):.3f}",
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", action="append", choices=("fp32", "fp16", "bf16", "int8", "int4"))
    parser.add_argument(
        "--peer", action="append", default=[], choices=("onnx", "optimum", "torch-float16", "torch-bfloat16")
    )
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--provider", default="cpu", choices=("cpu", "cuda"))
    arguments = parser.parse_args()
    arguments.precision = arguments.precision or ["fp32", "int8"]
    return arguments


if __name__ == "__main__":
    main()
