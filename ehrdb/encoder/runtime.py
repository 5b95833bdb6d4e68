"""Running an exported encoder with ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime

from ehrdb.encoder import Encoded, in_order
from ehrdb.encoder.manifest import AGAIN, GRAPH, Manifest
from ehrdb.encoder.pooling import Floats, Integers, join_chunks, pool
from ehrdb.encoder.tokenization import Chunk, TextTokenizer, TokenizedText
from ehrdb.errors import ModelIncomplete, NonFiniteVector, ProviderUnavailable

CPU = "CPUExecutionProvider"
BATCH_TOKENS = 8192
"""Tokens of texts that are handed over together, for each run that goes on at a time."""
RUN_TOKENS = {CPU: 512, "CUDAExecutionProvider": 32_768}
"""Padded tokens of one run. On a CPU one full-length chunk at a time is fastest: its states stay in cache."""

Forward = Callable[[Integers, Integers], Floats]
"""Token ids and mask (n, tokens), padded on the right, to last hidden states (n, tokens, dimension)."""


class BatchingEncoder:
    """Tokenize, group by length, run, pool: everything but the model itself, which `forward` is.

    `parallel` runs go on at a time, each in one thread: that keeps every core busy without the threads
    having to meet inside each operator.
    """

    def __init__(
        self, manifest: Manifest, tokenizer: TextTokenizer, forward: Forward, run_tokens: int, parallel: int
    ) -> None:
        self.manifest = manifest
        self._tokenizer = tokenizer
        self._forward = forward
        self._run_tokens = run_tokens
        self._parallel = parallel

    def encode(self, texts: Sequence[str]) -> Encoded:
        """All vectors in the order of `texts`."""
        return in_order(self.manifest.dimension, self.encode_batches(texts))

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Encoded]]:
        """Batches, longest texts first; see Encoder."""
        tokenized = self._tokenizer(texts)
        counts = [text.token_count for text in tokenized]
        with ThreadPoolExecutor(self._parallel) as pool_of_runs:
            for indices in _batches(counts, BATCH_TOKENS * self._parallel):
                yield indices, self._encode(indices, [tokenized[i] for i in indices], pool_of_runs)

    def _encode(self, indices: list[int], texts: list[TokenizedText], workers: ThreadPoolExecutor) -> Encoded:
        chunks = [chunk for text in texts for chunk in text.chunks]
        runs = list(_runs([len(chunk) for chunk in chunks], self._run_tokens))
        done = list(workers.map(self._run, [[chunks[row] for row in rows] for rows in runs]))
        vectors = np.concatenate(done)[np.argsort([row for rows in runs for row in rows])]
        joined = join_chunks(vectors, [len(text.chunks) for text in texts], self.manifest)
        finite = np.isfinite(joined).all(axis=1)
        if not finite.all():
            index = indices[int(np.argmin(finite))]
            raise NonFiniteVector(f"the vector of text {index} is not finite", index=index)
        counts = np.array([text.token_count for text in texts], dtype=np.int64)
        return Encoded(joined, counts, np.array([text.is_truncated for text in texts], dtype=np.bool_))

    def _run(self, chunks: list[Chunk]) -> Floats:
        lengths = np.array([len(chunk) for chunk in chunks], dtype=np.int64)
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        ids = np.zeros_like(mask)
        for row, chunk in zip(ids, chunks, strict=True):
            row[: len(chunk)] = chunk.ids
        skipped = np.array([chunk.skipped for chunk in chunks], dtype=np.int64)
        return pool(self._forward(ids, mask), lengths, skipped, self.manifest.pooling)


def open_encoder(
    directory: Path, manifest: Manifest, providers: Sequence[str] = (CPU,), threads: int = 0
) -> BatchingEncoder:
    """Load an exported encoder on exactly these execution providers; `threads` 0 means all cores.

    Raises ProviderUnavailable rather than falling back to another one, ModelIncomplete for a broken graph.
    """
    tokenizer = TextTokenizer(directory, manifest)
    session = _open_session(directory / GRAPH, providers)
    parallel = (threads or len(os.sched_getaffinity(0))) if providers[0] == CPU else 1
    return BatchingEncoder(
        manifest, tokenizer, _session_forward(session), _run_tokens(manifest, providers[0]), parallel
    )


def _open_session(graph: Path, providers: Sequence[str]) -> onnxruntime.InferenceSession:
    missing = [name for name in providers if name not in onnxruntime.get_available_providers()]
    if missing or not providers:
        raise ProviderUnavailable(
            f"ONNX Runtime here has no {', '.join(missing) or 'provider to run on'}",
            hint="Install the gpu extra (onnxruntime-gpu), or set EHRDB_PROVIDERS=CPUExecutionProvider.",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=list(providers))
    except Exception as error:  # the runtime raises many kinds, without a common base
        raise ModelIncomplete(f"{graph} cannot be loaded ({type(error).__name__})", hint=AGAIN) from None
    if session.get_providers()[0] != providers[0]:
        raise ProviderUnavailable(f"ONNX Runtime could not start {providers[0]}", hint="Is its driver installed?")
    return session


def _run_tokens(manifest: Manifest, provider: str) -> int:
    # Dynamic int8 scales activations over a whole run: chunks side by side would change each other.
    return 1 if manifest.precision == "int8" else RUN_TOKENS.get(provider, RUN_TOKENS[CPU])


def _session_forward(session: onnxruntime.InferenceSession) -> Forward:
    names = {node.name for node in session.get_inputs()}

    def forward(ids: Integers, mask: Integers) -> Floats:
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feeds = {name: value for name, value in inputs.items() if name in names}
        return np.asarray(session.run(None, feeds)[0], dtype=np.float32)

    return forward


def _batches(token_counts: list[int], budget: int) -> Iterator[list[int]]:
    """Positions in batches of up to `budget` tokens, longest texts first."""
    batch: list[int] = []
    tokens = 0
    for index in _longest_first(token_counts):
        if batch and tokens + token_counts[index] > budget:
            yield batch
            batch, tokens = [], 0
        batch.append(index)
        tokens += token_counts[index]
    if batch:
        yield batch


def _runs(lengths: list[int], budget: int) -> Iterator[list[int]]:
    """Positions of chunks to run together, so that rows x longest stays within the budget; one at least."""
    order = _longest_first(lengths)
    while order:
        rows = max(1, budget // lengths[order[0]])
        yield order[:rows]
        order = order[rows:]


def _longest_first(lengths: list[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
