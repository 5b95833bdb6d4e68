"""Encoders at several precisions against other ways to run the same model: the same texts and tokens.

    python bench/encoder.py [MODEL] [--precision fp32 --precision int8] [--peer openvino-int8] [--tokens 512]
                            [--file TEXTS.json]

Every contender has a process of its own (so that peak memory is its own) and embeds the texts once to warm
up. Then they take turns, `--rounds` times, so that whatever else the machine does meets all of them; medians
count. Texts are cut beforehand to fit into one pass of all of them: a loader that truncates at 128 tokens
would look five times faster. `--file`: a JSON list of texts. Peers stand in bench/encoder_peers.py. `--bare` adds the
same graph without the runtime around it: session calls on ready-made batches. In each round a bare product of two
matrices is timed too, as fp32 and as int8: what of it a contender reaches, counting the products with weights alone,
is the last column (on a CPU). `--busy`, for a machine that others use, counts the processor's seconds, each thread's
as one of the machine's. `--provider cuda` runs everything on the GPU (needs onnxruntime-gpu and a CUDA build of
torch).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from statistics import median
from typing import Any

import encoder_peers
import numpy as np

from ehrdb.encoder.integers import LEVELS, quantized_columns
from ehrdb.encoder.machine import adds_exactly, this_machine
from ehrdb.encoder.manifest import GRAPH, Pooling
from ehrdb.encoder.parity import made_up_texts, overlap
from ehrdb.encoder.pooling import Floats

PEAK_SHAPE = (512, 1024, 3072)
PEAK_TIMES = 8
PEAK_OPERATIONS = 2 * PEAK_TIMES * PEAK_SHAPE[0] * PEAK_SHAPE[1] * PEAK_SHAPE[2]
OTHERS = (
    *("torch-bfloat16", "torch-float16", "compiled-bfloat16", "compiled-float16", "onnx", "optimum"),
    *("openvino", "openvino-fp32", "openvino-int8"),
    *("ctranslate2", "ctranslate2-int8", "fastembed", "llama.cpp"),
)


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
    here = this_machine()
    print(f"{here.processor}, {here.cores} cores, {' '.join(here.flags)}")
    contenders = list(_running(arguments, texts))
    for precision, directory in directories.items():
        contenders.append(_contender(f"ehrdb {precision}", _ours, arguments, texts, directory))
        if arguments.bare:
            contenders.append(_contender(f"bare session {precision}", _bare, arguments, texts, directory))
    kinds = ("fp32", "int8") if arguments.provider == "cpu" else ()
    peaks = {kind: _contender(f"a bare product, {kind}", _product, arguments, kind) for kind in kinds}
    for _ in range(arguments.rounds):
        for contender in (*contenders, *peaks.values()):
            seconds = contender.pool.apply(_round, (time.process_time if arguments.busy else time.perf_counter,))
            contender.seconds.append(seconds / (arguments.threads if arguments.busy else 1))
    operations = _operations(directories["fp32" if "fp32" in directories else arguments.precision[0]] / GRAPH)
    best = {kind: PEAK_OPERATIONS * arguments.threads / median(peak.seconds) for kind, peak in peaks.items()}
    for kind, peak in peaks.items():
        print(f"{peak.label:36} {best[kind] / 1e9:8.0f} GOP/s")
        peak.pool.terminate()
    for contender in contenders:
        kind = "int8" if "int" in contender.label else "fp32"
        _print(contender, contenders, tokens, operations / best[kind] if kind in best else None)
        contender.pool.terminate()


def _peers(arguments: argparse.Namespace) -> list[str]:
    """PyTorch at full precision, and what else was asked for and is installed; the others are named."""
    asked = OTHERS if "all" in arguments.peer else arguments.peer
    for peer in asked:
        if package := encoder_peers.absent(peer):
            print(f"{peer:36} absent: {package} is not installed here")
    return ["torch-float32", *(peer for peer in asked if not encoder_peers.absent(peer))]


def _running(arguments: argparse.Namespace, texts: list[str]) -> Iterator[Contender]:
    """The peers that can run this model; what another says of it is printed."""
    for peer in _peers(arguments):
        try:
            yield _contender(peer, _peer, arguments, texts, peer)
        except Exception as error:  # each library raises its own kinds
            print(f"{peer:36} cannot run this model: {type(error).__name__}: {str(error).splitlines()[:1]}")


def _contender(label: str, start: Callable[..., Floats], *arguments: object) -> Contender:
    pool = get_context("spawn").Pool(1)
    return Contender(label, pool, pool.apply(start, arguments), [])


def _round(clock: Callable[[], float]) -> float:
    started = clock()
    _embed()
    return clock() - started


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


def _peer(arguments: argparse.Namespace, texts: list[str], peer: str) -> Floats:
    return _start(encoder_peers.start(peer, arguments, texts))


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


def _product(arguments: argparse.Namespace, kind: str) -> Floats:
    """One product of PEAK_SHAPE in each thread: ONNX Runtime's fastest, rows quantized beforehand."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    rows, inner, columns = PEAK_SHAPE
    weights = np.random.default_rng(0).standard_normal((inner, columns)).astype(np.float32)
    given: Any = np.ones((rows, inner), np.float32)
    number, constants = onnx.TensorProto.FLOAT, {"w": np.asarray(weights)}
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    if kind == "int8":
        given, number = given.astype(np.uint8), onnx.TensorProto.UINT8
        quantized, scales = quantized_columns(weights, LEVELS["int8"])
        constants = {"w": quantized, "one": np.array(1, np.float32), "scales": scales, "zero": np.array(128, np.uint8)}
        node = helper.make_node(
            "MatMulIntegerToFloat", ["x", "w", "one", "scales", "zero"], ["y"], domain="com.microsoft"
        )
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", number, [rows, inner])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [rows, columns])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not adds_exactly(this_machine()):
        options.add_session_config_entry("session.x64quantprecision", "1")
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    workers = ThreadPoolExecutor(arguments.threads)

    def embed() -> Floats:
        list(workers.map(lambda _: session.run(None, {"x": given}), range(PEAK_TIMES * arguments.threads)))
        return np.zeros((1, 1), np.float32)

    return _start(embed)


def _operations(graph: Path) -> int:
    """Multiplications and additions with weights that one token takes."""
    import onnx

    model = onnx.load(graph, load_external_data=False)
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer if len(tensor.dims) == 2}
    kinds = ("MatMul", "MatMulIntegerToFloat")
    return sum(2 * sizes.get(node.input[1], 0) for node in model.graph.node if node.op_type in kinds)


def _print(contender: Contender, all_: list[Contender], tokens: int, seconds_at_peak: float | None) -> None:
    """Tokens a second, and the ratio to every peer: below 1 too."""
    baseline = all_[0]
    a, b = (each.vectors / np.linalg.norm(each.vectors, axis=1, keepdims=True) for each in (contender, baseline))
    cosines = (a * b).sum(axis=1)
    speed = tokens / median(contender.seconds)
    peers = [each for each in all_ if not each.label.startswith(("ehrdb", "bare"))]
    share = "" if seconds_at_peak is None else f"{speed * seconds_at_peak:5.1%} of a bare product  "
    ratios = "  ".join(f"{median(peer.seconds) / median(contender.seconds):5.2f}x {peer.label}" for peer in peers)
    print(
        f"{contender.label:36} {speed:8.0f} tokens/s  {contender.pool.apply(_peak_mb):6.0f} MB  "
        f"cosine {cosines.mean():.4f} (min {cosines.min():.4f})  overlap@10 {overlap(a, b):.3f}  "
        f"{share}{ratios}",
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", action="append", choices=("fp32", "fp16", "bf16", "int8", "int7", "int4"))
    parser.add_argument("--peer", action="append", default=[], choices=(*OTHERS, "all"))
    parser.add_argument("--gguf", type=Path, help="the same model for llama.cpp")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--busy", action="store_true", help="others use this machine: count the processor's seconds")
    parser.add_argument("--provider", default="cpu", choices=("cpu", "cuda"))
    arguments = parser.parse_args()
    arguments.precision = arguments.precision or ["fp32", "int8"]
    return arguments


if __name__ == "__main__":
    main()
