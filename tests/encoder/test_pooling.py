from __future__ import annotations

import numpy as np
import pytest

from ehrdb.encoder.manifest import Manifest, Pooling
from ehrdb.encoder.pooling import Floats, Integers, join_chunks, pooling_weights
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
        ("mean_sqrt_len", [STATES[0].sum(axis=0) / 2, STATES[1, :2].sum(axis=0) / np.sqrt(2)]),
        ("weighted_mean", [[1, 2, 3, 4] @ STATES[0] / 10, [1, 2] @ STATES[1, :2] / 3]),
    ],
)
def test_pooling_leaves_out_padding(pooling: Pooling, expected: list[object]) -> None:
    np.testing.assert_allclose(pool(NONE, pooling), np.array(expected), rtol=1e-6)


def test_the_prompt_is_left_out_of_the_mean() -> None:
    np.testing.assert_allclose(pool(np.array([3, 1]), "mean_without_prompt"), [STATES[0, 3], STATES[1, 1]])


@pytest.mark.parametrize("pooling", ["mean", "cls", "last_token", "mean_without_prompt"])
def test_padding_weighs_nothing(pooling: Pooling) -> None:
    assert not pooling_weights(LENGTHS, NONE, 4, pooling)[1, :, 2:].any()


def test_chunks_can_be_joined_with_zeros_for_missing_ones() -> None:
    vectors = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)

    joined = join_chunks(vectors, [2, 1], _manifest(chunking="concat", max_chunks=2, dimension=4))

    assert joined.tolist() == [[1, 2, 3, 4], [5, 6, 0, 0]]


def test_a_cut_vector_is_scaled_after_the_cut() -> None:
    vectors = np.array([[3, 4, 100]], dtype=np.float32)

    joined = join_chunks(vectors, [1], _manifest(dimension=2, normalize=True))

    np.testing.assert_allclose(joined, [[0.6, 0.8]])


def pool(skipped: Integers, pooling: Pooling) -> Floats:
    return np.asarray(pooling_weights(LENGTHS, skipped, 4, pooling) @ STATES)[:, 0]


def _manifest(**changes: object) -> Manifest:
    return FakeEncoder().manifest.model_copy(update={"normalize": False, **changes})
