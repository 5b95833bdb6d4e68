from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ehrdb.encoder.export import DEFAULT_MODEL, export
from ehrdb.encoder.parity import made_up_texts
from ehrdb.encoder.pooling import Floats, Integers
from ehrdb.encoder.runtime import CPU, CUDA, BatchingEncoder, _padded, _require_on, _run_tokens, _runs, open_batching
from ehrdb.errors import EmptyText, ItemError, NonFiniteVector, ProviderUnavailable
from tests.encoder.conftest import short_texts

LONG = "Hemoglobin (g/dL): 12.1\n" * 80
"""Two chunks and some more."""


def test_vectors_have_unit_length_and_the_manifests_dimension(minilm: BatchingEncoder) -> None:
    vectors = minilm.encode(["Essential hypertension", LONG]).vectors

    assert vectors.shape == (2, minilm.manifest.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_text_has_the_same_vector_whatever_its_batch(minilm: BatchingEncoder) -> None:
    texts = [*(text[:800] for text in made_up_texts(8)), "Asthma", "Anemia", "Migraine", LONG]

    together = minilm.encode(texts).vectors
    alone = np.concatenate([minilm.encode([text]).vectors for text in texts])

    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.export
@pytest.mark.slow
def test_int8_of_minilm_is_the_same_to_the_last_bit_in_any_batch(tmp_path: Path) -> None:
    manifest = export(
        DEFAULT_MODEL, tmp_path / "encoder", name="minilm-int8", precision="int8", sample_texts=short_texts()
    )
    encoder = open_batching(tmp_path / "encoder", manifest)
    texts = [*(text[:400] for text in made_up_texts(8)), "Asthma", "Anemia", "Migraine"]

    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])

    assert np.array_equal(encoder.encode(texts).vectors, alone)
    # The gate at export, with its real weights.
    assert manifest.parity is not None
    assert manifest.parity.mean_cosine >= 0.99
    assert manifest.parity.overlap_at_10 >= 0.9


def test_only_chunks_of_one_padded_length_run_together() -> None:
    lengths = [512, 40, 48, 33, 48, 512, 16]

    runs = list(_runs([_padded(length) for length in lengths], 512, is_exact=True))

    assert runs == [[0], [5], [1, 2, 3, 4], [6]]


def test_on_a_gpu_the_longest_chunks_that_fill_a_run_go_together() -> None:
    lengths = [512, 40, 48, 33, 48, 512, 16]

    runs = list(_runs([_padded(length) for length in lengths], 1100, is_exact=False))

    assert runs == [[0, 5], [1, 2, 3, 4, 6]]


def test_a_gpu_is_handed_texts_that_fill_its_runs(minilm: BatchingEncoder) -> None:
    texts = ["Essential hypertension"] * 9000
    on_card = BatchingEncoder(minilm.manifest, minilm._tokenizer, minilm._forward, 32_768, 1, provider=CUDA)

    assert len(list(on_card._batches(texts))) == 1
    assert len(list(minilm._batches(texts))) > 1


@dataclass
class Part:
    """Where nodes of a graph run, as ONNX Runtime tells it."""

    ep_name: str
    kinds: tuple[str, ...]

    def get_nodes(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(op_type=kind) for kind in self.kinds]


def test_an_operator_that_costs_may_not_run_elsewhere() -> None:
    on_card, shapes = Part(CUDA, ("MatMul", "GroupQueryAttention")), Part(CPU, ("Shape", "Concat"))
    _require_on(_session(on_card, shapes), CUDA)

    with pytest.raises(ProviderUnavailable, match="CUDAExecutionProvider cannot run GroupQueryAttention, MatMulNBits"):
        _require_on(_session(on_card, Part(CPU, ("MatMulNBits", "GroupQueryAttention"))), CUDA)


def _session(*parts: Part) -> Any:
    return SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)


def test_older_int8_of_encoders_is_never_run_side_by_side(minilm: BatchingEncoder) -> None:
    """It scales activations over a whole run."""
    older = minilm.manifest.model_copy(update={"precision": "int8"})

    assert _run_tokens(older, CPU) == 1
    assert _run_tokens(older.model_copy(update={"row_scales": True}), CPU) > 1


def test_an_empty_text_among_many_is_named_by_its_own_position(minilm: BatchingEncoder) -> None:
    texts = [LONG] * 24 + [" "] + ["Asthma"]

    with pytest.raises(EmptyText, match="text 24") as caught:
        list(minilm.encode_batches(texts))

    assert caught.value.index == 24


def test_results_come_in_the_order_of_the_texts(minilm: BatchingEncoder) -> None:
    one, other = "Asthma", "Heart failure\nAtrial fibrillation\nOld age"

    np.testing.assert_allclose(
        minilm.encode([one, other]).vectors, minilm.encode([other, one]).vectors[::-1], atol=1e-6
    )


def test_batches_start_with_the_longest_text_and_cover_all(minilm: BatchingEncoder) -> None:
    texts = ["Asthma", *[LONG] * 60, "Anemia"]

    batches = [indices for indices, _ in with_ones(minilm).encode_batches(texts)]

    assert len(batches) > 1
    assert 0 not in batches[0]
    assert sorted(index for batch in batches for index in batch) == list(range(len(texts)))


def test_no_texts_give_no_vectors(minilm: BatchingEncoder) -> None:
    assert minilm.encode([]).vectors.shape == (0, minilm.manifest.dimension)


@pytest.mark.parametrize("empty", ["", " \n", "\x00\x01"])
def test_an_empty_text_is_named_by_its_position(minilm: BatchingEncoder, empty: str) -> None:
    with pytest.raises(EmptyText) as caught:
        minilm.encode(["Asthma", empty])

    assert caught.value.index == 1


def test_a_megabyte_of_text_is_cut_and_counted(minilm: BatchingEncoder) -> None:
    encoded = with_ones(minilm).encode(["diabetes " * 120_000])

    assert encoded.truncated.tolist() == [True]
    assert encoded.token_counts[0] <= 16 * 512


def test_text_of_one_repeated_emoji_is_embedded(minilm: BatchingEncoder) -> None:
    assert np.isfinite(minilm.encode(["\N{PILL}" * 100_000]).vectors).all()


def test_nan_names_the_position_and_never_the_text(minilm: BatchingEncoder) -> None:
    broken = WithNaN(minilm).encoder()

    with pytest.raises(NonFiniteVector) as caught:
        broken.encode(["Essential hypertension", "Secret diagnosis", "Essential hypertension"])

    assert isinstance(caught.value, ItemError)
    assert caught.value.index == 1
    assert "Secret" not in str(caught.value)


def test_a_provider_that_is_not_there_is_an_error_not_a_fallback(
    minilm: BatchingEncoder, minilm_directory: Path
) -> None:
    with pytest.raises(ProviderUnavailable, match="TensorrtExecutionProvider"):
        open_batching(minilm_directory, minilm.manifest, ["TensorrtExecutionProvider", "CPUExecutionProvider"])


def test_the_runtime_needs_no_torch() -> None:
    code = (
        "import sys; import ehrdb.encoder.runtime;"
        "assert not {'torch', 'transformers', 'optimum', 'onnx'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def with_ones(original: BatchingEncoder) -> BatchingEncoder:
    """An encoder that reads texts as the original does, and whose model answers with ones."""

    def forward(ids: Integers, mask: Integers, pooling: Floats) -> Floats:
        return np.ones((len(ids), original.manifest.dimension), dtype=np.float32)

    return BatchingEncoder(original.manifest, original._tokenizer, forward, 512, 1)


@dataclass
class WithNaN:
    """An encoder whose model answers NaN for chunks that have other tokens than the first."""

    original: BatchingEncoder

    def encoder(self) -> BatchingEncoder:
        return BatchingEncoder(self.original.manifest, self.original._tokenizer, self._forward, 512, 1)

    def _forward(self, ids: Integers, mask: Integers, pooling: Floats) -> Floats:
        vectors = np.ones((len(ids), self.original.manifest.dimension), dtype=np.float32)
        secret = self.original._tokenizer(["Secret diagnosis"])[0].chunks[0].ids
        for row, vector in zip(ids, vectors, strict=True):
            if row[: len(secret)].tolist() == secret:
                vector[:] = np.nan
        return vectors
