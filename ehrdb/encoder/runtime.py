"""Running an exported encoder with ONNX Runtime."""

from __future__ import annotations

import json
import logging
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from ehrdb.encoder import Encoded, Encoder, in_order
from ehrdb.encoder.lines import LineEncoder
from ehrdb.encoder.machine import adds_exactly, same_kind, this_machine
from ehrdb.encoder.manifest import AGAIN, GRAPH, Manifest
from ehrdb.encoder.pooling import Floats, Integers, join_chunks, pooling_weights
from ehrdb.encoder.prompts import split_prompt
from ehrdb.encoder.sharing import Group, groups
from ehrdb.encoder.source import DECODERS
from ehrdb.encoder.tokenization import Chunk, TextTokenizer, TokenizedText
from ehrdb.errors import EmptyText, ModelIncomplete, NonFiniteVector, ProviderUnavailable

logger = logging.getLogger(__name__)
CPU, CUDA, OPENVINO = "CPUExecutionProvider", "CUDAExecutionProvider", "OpenVINOExecutionProvider"
ON_PROCESSOR = (CPU, OPENVINO)
"""These compute on the cores of this machine: one chunk for each at a time."""
BATCH_CHARACTERS = {CPU: 32_768, CUDA: 262_144}
"""Of texts that are handed over together, for each run that goes on at a time: a CPU's some 8,000 tokens, a GPU's
some 65,000."""
RUN_TOKENS = {CPU: 512, CUDA: 32_768}
"""Padded tokens of one run. On a CPU one full-length chunk at a time is fastest: its states stay in cache."""
STEP = 16
"""Chunks are padded to a multiple of so many tokens, and only those of one padded length run together. So a chunk's
own length decides in which order its numbers are added up, and its vector is the same to the last bit in any batch.
On a GPU the number of rows decides, too: there the longest chunks that fill a run go together."""
HEAVY = ("MatMul", "Gemm", "Attention")
"""In the names of operators that cost: none may run on another provider than the one that was asked for."""

Forward = Callable[[Integers, Integers, Floats], Floats]
"""Token ids and mask (n, tokens), padded on the right, and pooling weights (n, 1, tokens) to (n, dimension)."""
ForwardShared = Callable[[Group], Floats]
"""Texts that begin alike to one vector each."""


@dataclass(frozen=True)
class _Started:
    """A batch whose runs are under way: rows of its chunks, and their vectors to come."""

    indices: list[int]
    texts: list[TokenizedText]
    rows: list[list[int]]
    runs: list[Future[Floats]]


class BatchingEncoder:
    """Tokenize, group by length, run, pool: everything but the model itself, which `forward` is.

    `parallel` runs go on at a time, each in one thread: that keeps every core busy without the threads
    having to meet inside each operator. While a batch runs, the next one is tokenized and queued behind it.
    """

    def __init__(
        self,
        manifest: Manifest,
        tokenizer: TextTokenizer,
        forward: Forward,
        run_tokens: int,
        parallel: int,
        forward_shared: ForwardShared | None = None,
        provider: str = CPU,
    ) -> None:
        self.manifest = manifest
        self._tokenizer = tokenizer
        self._forward = forward
        self._forward_shared = forward_shared
        self._run_tokens = run_tokens
        self._parallel = parallel
        self._batch_characters = BATCH_CHARACTERS.get(provider, BATCH_CHARACTERS[CPU]) * parallel
        self._is_exact = provider in ON_PROCESSOR

    def encode(self, texts: Sequence[str]) -> Encoded:
        """All vectors in the order of `texts`."""
        return in_order(self.manifest.dimension, self.encode_batches(texts))

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Encoded]]:
        """Batches, longest texts first; see Encoder."""
        workers = ThreadPoolExecutor(self._parallel)
        under_way: deque[_Started] = deque()
        try:
            for indices in self._batches(texts):
                under_way.append(self._start(indices, [texts[i] for i in indices], workers))
                if len(under_way) > 1:
                    yield self._finish(under_way.popleft())
            while under_way:
                yield self._finish(under_way.popleft())
        finally:
            workers.shutdown(cancel_futures=True)

    def _batches(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Longest texts first; those that share a pass stay together."""
        alike: dict[object, list[int]] = defaultdict(list)
        for index, text in enumerate(texts):
            alike[index if self._forward_shared is None else split_prompt(text)[1]].append(index)
        lengths = [len(text) for text in texts]
        groups_of_texts = sorted(alike.values(), key=lambda group: (-lengths[group[0]], group))
        return _filled(groups_of_texts, lengths, self._batch_characters)

    def _start(self, indices: list[int], texts: list[str], workers: ThreadPoolExecutor) -> _Started:
        try:
            tokenized = self._tokenizer(texts)
        except EmptyText as error:
            index = indices[error.index]
            raise EmptyText(f"text {index} holds nothing to embed", index=index) from None
        chunks = [chunk for text in tokenized for chunk in text.chunks]
        if self._forward_shared is None:
            rows = list(_runs([_padded(len(chunk)) for chunk in chunks], self._run_tokens, self._is_exact))
            runs = [workers.submit(self._run, [chunks[row] for row in run]) for run in rows]
        else:
            shared = list(groups(chunks))
            rows = [group.rows for group in shared]
            runs = [workers.submit(self._forward_shared, group) for group in shared]
        return _Started(indices, tokenized, rows, runs)

    def _finish(self, batch: _Started) -> tuple[list[int], Encoded]:
        done = np.concatenate([run.result() for run in batch.runs])
        vectors = done[np.argsort([row for rows in batch.rows for row in rows])]
        joined = join_chunks(vectors, [len(text.chunks) for text in batch.texts], self.manifest)
        finite = np.isfinite(joined).all(axis=1)
        if not finite.all():
            index = batch.indices[int(np.argmin(finite))]
            raise NonFiniteVector(f"the vector of text {index} is not finite", index=index)
        counts = np.array([text.token_count for text in batch.texts], dtype=np.int64)
        return batch.indices, Encoded(joined, counts, np.array([text.is_truncated for text in batch.texts], np.bool_))

    def _run(self, chunks: list[Chunk]) -> Floats:
        lengths = np.array([len(chunk) for chunk in chunks], dtype=np.int64)
        mask = (np.arange(_padded(int(lengths.max()))) < lengths[:, None]).astype(np.int64)
        ids = np.zeros_like(mask)
        for row, chunk in zip(ids, chunks, strict=True):
            row[: len(chunk)] = chunk.ids
        skipped = np.array([chunk.skipped for chunk in chunks], dtype=np.int64)
        return self._forward(ids, mask, pooling_weights(lengths, skipped, mask.shape[1], self.manifest.pooling))


def open_encoder(directory: Path, manifest: Manifest, providers: Sequence[str] = (CPU,), threads: int = 0) -> Encoder:
    """Load an exported encoder on exactly these execution providers; `threads` 0 means all cores.

    Raises ProviderUnavailable rather than falling back to another one, ModelIncomplete for a broken graph.
    """
    encoder = open_batching(directory, manifest, providers, threads)
    return LineEncoder(encoder) if manifest.chunking == "lines" else encoder


def open_batching(
    directory: Path, manifest: Manifest, providers: Sequence[str] = (CPU,), threads: int = 0
) -> BatchingEncoder:
    """The same, for texts as wholes even where the manifest says that lines are embedded.

    Raises what open_encoder does.
    """
    _warn_elsewhere(manifest)
    tokenizer = TextTokenizer(directory, manifest)
    cores = threads or len(os.sched_getaffinity(0))
    session = _open_session(directory / GRAPH, manifest, providers, cores)
    if providers[0] != CPU:
        _require_on(session, providers[0])
    parallel = cores if providers[0] in ON_PROCESSOR else 1
    shared = _shared_forward(session) if manifest.prompt_position == "last" else None
    run_tokens = _run_tokens(manifest, providers[0])
    return BatchingEncoder(manifest, tokenizer, _session_forward(session), run_tokens, parallel, shared, providers[0])


def _warn_elsewhere(manifest: Manifest) -> None:
    here = this_machine()
    if manifest.tuning and not same_kind(manifest.tuning.machine, here):
        logger.warning(
            "%s was tuned on another kind of processor (%s, here %s): `ehrdb encoder tune %s` measures what is fastest",
            manifest.name,
            manifest.tuning.machine.processor,
            here.processor,
            manifest.name,
        )


def _open_session(
    graph: Path, manifest: Manifest, providers: Sequence[str], cores: int
) -> onnxruntime.InferenceSession:
    missing = [name for name in providers if name not in onnxruntime.get_available_providers()]
    if missing or not providers:
        raise ProviderUnavailable(
            f"ONNX Runtime here has no {', '.join(missing) or 'provider to run on'}",
            hint="Install the extra that brings it, gpu or openvino, or set EHRDB_PROVIDERS=CPUExecutionProvider.",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if manifest.row_scales and manifest.precision == "int8" and not adds_exactly(this_machine()):
        # ONNX Runtime goes this way wherever it is told to: with AMX, 8 times slower and no more exact.
        options.add_session_config_entry("session.x64quantprecision", "1")
    if providers[0] != CPU:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    opened: Path | bytes = graph
    if providers[0] == CUDA:
        opened = _for_cuda(graph, manifest, options)
    try:
        session = onnxruntime.InferenceSession(
            opened, options, providers=[(name, _provider_options(name, cores)) for name in providers]
        )
    except Exception as error:  # the runtime raises many kinds, without a common base
        raise ModelIncomplete(f"{graph} cannot be loaded ({type(error).__name__})", hint=AGAIN) from None
    if session.get_providers()[0] != providers[0]:
        raise ProviderUnavailable(f"ONNX Runtime could not start {providers[0]}", hint="Is its driver installed?")
    return session


def _provider_options(provider: str, cores: int) -> dict[str, str]:
    """OpenVINO by itself rounds to bfloat16 where the processor can, and gives one text all cores."""
    if provider != OPENVINO:
        return {}
    return {
        "device_type": "CPU",
        "num_of_threads": str(cores),
        "num_streams": str(cores),
        "load_config": json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}),
    }


def _for_cuda(graph: Path, manifest: Manifest, options: onnxruntime.SessionOptions) -> Path | bytes:
    """The file, or its graph rewritten; CUDA's libraries may be Python packages, which are looked for first."""
    onnxruntime.preload_dlls()
    if manifest.architecture not in DECODERS or manifest.precision != "bf16":
        return graph
    from ehrdb.encoder.cuda import computed_as_stored

    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(graph.parent))
    return computed_as_stored(graph)


def _require_on(session: onnxruntime.InferenceSession, provider: str) -> None:
    """ONNX Runtime leaves to the CPU what a provider cannot run: small operators may go there, costly ones may not."""
    elsewhere = {
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
        if part.ep_name != provider and any(kind in node.op_type for kind in HEAVY)
    }
    if elsewhere:
        raise ProviderUnavailable(
            f"{provider} cannot run {', '.join(sorted(elsewhere))} of this encoder",
            hint="Export the model at another precision: fp16, bf16 or, if it is no decoder, fp32.",
        )


def _run_tokens(manifest: Manifest, provider: str) -> int:
    # Older int8 of BERT-like models scales activations over a whole run, where chunks would change each other.
    is_dynamic = manifest.precision == "int8" and not manifest.row_scales and manifest.architecture not in DECODERS
    return 1 if is_dynamic else RUN_TOKENS.get(provider, RUN_TOKENS[CPU])


def _session_forward(session: onnxruntime.InferenceSession) -> Forward:
    names = {node.name for node in session.get_inputs()}

    def forward(ids: Integers, mask: Integers, pooling: Floats) -> Floats:
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids), "pooling": pooling}
        feeds = {name: value for name, value in given.items() if name in names}
        return np.asarray(session.run(None, feeds)[0], dtype=np.float32)[:, 0]

    return forward


def _shared_forward(session: onnxruntime.InferenceSession) -> ForwardShared:
    if "visible" not in {node.name for node in session.get_inputs()}:
        raise ModelIncomplete("the graph was made by an older ehrdb, which masked all of a text", hint=AGAIN)

    def forward(group: Group) -> Floats:
        (vectors,) = session.run(None, group.feeds())
        return np.asarray(vectors[0], dtype=np.float32)

    return forward


def _filled(alike: list[list[int]], characters: list[int], budget: int) -> Iterator[list[int]]:
    """Batches of whole groups of positions; a group costs what its first text does, since the others share it."""
    batch: list[int] = []
    used = 0
    for group in alike:
        cost = characters[group[0]]
        if batch and used + cost > budget:
            yield batch
            batch, used = [], 0
        batch += group
        used += cost
    if batch:
        yield batch


def _padded(tokens: int) -> int:
    return -(-tokens // STEP) * STEP


def _runs(padded: list[int], budget: int, is_exact: bool) -> Iterator[list[int]]:
    """Positions of chunks to run together within the budget, one at least: `is_exact`, all of one padded length."""
    order = _longest_first(padded)
    while order:
        longest = padded[order[0]]
        together = order[: max(1, budget // longest)]
        if is_exact:
            together = [i for i in together if padded[i] == longest]
        yield together
        order = order[len(together) :]


def _longest_first(lengths: list[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
