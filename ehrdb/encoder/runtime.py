"""Running an exported encoder with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from ehrdb.encoder import Encoded, in_order
from ehrdb.encoder.manifest import GRAPH, Manifest
from ehrdb.encoder.pooling import Floats, join_chunks, pool
from ehrdb.encoder.tokenization import TextTokenizer, TokenizedText
from ehrdb.errors import ModelIncomplete, NonFiniteVector, ProviderUnavailable

BATCH_TOKENS = 8192
"""Tokens of texts that are handed over together."""
RUN_TOKENS = {"CPUExecutionProvider": 512, "CUDAExecutionProvider": 32_768}
"""Padded tokens of one inference. On a CPU one full-length chunk at a time is fastest: its states stay in cache."""

Forward = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], Floats]
"""Token ids and mask (n, tokens) to last hidden states (n, tokens, dimension)."""


class BatchingEncoder:
    """Tokenize, group by length, run, pool: everything but the model itself, which `forward` is."""

    def __init__(self, manifest: Manifest, tokenizer: TextTokenizer, forward: Forward, run_tokens: int) -> None:
        self.manifest = manifest
        self._tokenizer = tokenizer
        self._forward = forward
        # Dynamic int8 scales activations over a whole run: chunks side by side would change each other.
        self._run_tokens = 1 if manifest.precision == "int8" else run_tokens

    def encode(self, texts: Sequence[str]) -> Encoded:
        """All vectors in the order of `texts`."""
        return in_order(len(texts), self.encode_batches(texts))

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Encoded]]:
        """Batches, longest texts first; see Encoder."""
        tokenized = self._tokenizer(texts)
        for indices in _batches([text.token_count for text in tokenized]):
            yield indices, self._encode(indices, [tokenized[i] for i in indices])

    def _encode(self, indices: list[int], texts: list[TokenizedText]) -> Encoded:
        chunks = [chunk for text in texts for chunk in text.chunks]
        vectors = np.empty((len(chunks), self.manifest.dimension), dtype=np.float32)
        for rows in _runs([len(chunk) for chunk in chunks], self._run_tokens):
            vectors[rows] = self._run([chunks[row] for row in rows])
        joined = join_chunks(vectors, [len(text.chunks) for text in texts], self.manifest.normalize)
        finite = np.isfinite(joined).all(axis=1)
        if not finite.all():
            index = indices[int(np.argmin(finite))]
            raise NonFiniteVector(f"the vector of text {index} is not finite", index=index)
        counts = np.array([text.token_count for text in texts], dtype=np.int64)
        return Encoded(joined, counts, np.array([text.is_truncated for text in texts], dtype=np.bool_))

    def _run(self, chunks: list[list[int]]) -> Floats:
        longest = max(map(len, chunks))
        ids = np.zeros((len(chunks), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, chunk in enumerate(chunks):
            ids[row, : len(chunk)] = chunk
            mask[row, : len(chunk)] = 1
        return pool(self._forward(ids, mask), mask, self.manifest.pooling)


def open_encoder(
    directory: Path,
    manifest: Manifest,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    threads: int = 0,
) -> BatchingEncoder:
    """Load an exported encoder on exactly these execution providers.

    Raises ProviderUnavailable rather than falling back to another one, ModelIncomplete for a broken graph.
    """
    missing = [name for name in providers if name not in onnxruntime.get_available_providers()]
    if missing:
        raise ProviderUnavailable(
            f"ONNX Runtime here has no {', '.join(missing)}",
            hint="Install the gpu extra (onnxruntime-gpu), or set EHRDB_PROVIDERS=CPUExecutionProvider.",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(directory / GRAPH, options, providers=list(providers))
    except Exception as error:  # the runtime raises many kinds, without a common base
        raise ModelIncomplete(
            f"{directory / GRAPH} cannot be loaded ({type(error).__name__})", hint="Export the encoder again."
        ) from None
    if session.get_providers()[0] != providers[0]:
        raise ProviderUnavailable(f"ONNX Runtime could not start {providers[0]}", hint="Is its driver installed?")
    tokenizer = TextTokenizer(directory, manifest)
    return BatchingEncoder(manifest, tokenizer, _session_forward(session), RUN_TOKENS.get(providers[0], 512))


def _batches(token_counts: list[int]) -> Iterator[list[int]]:
    """Positions in batches of up to BATCH_TOKENS, longest texts first."""
    batch: list[int] = []
    tokens = 0
    for index in _longest_first(token_counts):
        if batch and tokens + token_counts[index] > BATCH_TOKENS:
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


def _session_forward(session: onnxruntime.InferenceSession) -> Forward:
    names = {node.name for node in session.get_inputs()}

    def forward(ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Floats:
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feeds = {name: value for name, value in inputs.items() if name in names}
        return np.asarray(session.run(None, feeds)[0], dtype=np.float32)

    return forward
