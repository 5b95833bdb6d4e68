from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehrdb.encoder.manifest import Manifest, Pooling
from ehrdb.encoder.pooling import join_chunks, pool
from ehrdb.testing import FakeEncoder

STATES = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
LENGTHS = np.array([4, 2])
NONE = np.array([0, 0])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [STATES[0].mean(axis=0), STATES[1, :2].mean(axis=0)]),
        ("cls", [STATES[0, 0], STATES[1, 0]]),
        ("last_token", [STATES[0, 3], STATES[1, 1]]),
    ],
)
def test_pooling_leaves_out_padding(pooling: Pooling, expected: list[object]) -> None:
    np.testing.assert_allclose(pool(STATES, LENGTHS, NONE, pooling), np.array(expected))


def test_the_prompt_is_left_out_of_the_mean() -> None:
    pooled = pool(STATES, LENGTHS, np.array([3, 1]), "mean_without_prompt")

    np.testing.assert_allclose(pooled, [STATES[0, 3], STATES[1, 1]])


@given(st.floats(-1e6, 1e6, width=32))
def test_what_stands_in_padding_never_matters(padding: float) -> None:
    padded = STATES.copy()
    padded[1, 2:] = padding

    for pooling in ("mean", "cls", "last_token"):
        assert np.array_equal(pool(padded, LENGTHS, NONE, pooling), pool(STATES, LENGTHS, NONE, pooling))


def test_chunks_can_be_joined_with_zeros_for_missing_ones() -> None:
    vectors = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)

    joined = join_chunks(vectors, [2, 1], _manifest(chunking="concat", max_chunks=2, dimension=4))

    assert joined.tolist() == [[1, 2, 3, 4], [5, 6, 0, 0]]


def test_a_cut_vector_is_scaled_after_the_cut() -> None:
    vectors = np.array([[3, 4, 100]], dtype=np.float32)

    joined = join_chunks(vectors, [1], _manifest(dimension=2, normalize=True))

    np.testing.assert_allclose(joined, [[0.6, 0.8]])


def _manifest(**changes: object) -> Manifest:
    return FakeEncoder().manifest.model_copy(update={"normalize": False, **changes})
