"""Records as the mean of their lines, each distinct one embedded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ehrdb.encoder.lines import LineEncoder
from ehrdb.encoder.runtime import open_encoder
from ehrdb.errors import EmptyText, NonFiniteVector
from ehrdb.testing import FakeEncoder


def test_a_text_is_the_mean_of_its_lines_scaled_to_one() -> None:
    one, other = FakeEncoder().encode(["Asthma", "Heart failure"]).vectors

    (vector,) = LineEncoder(FakeEncoder()).encode(["Asthma\nHeart failure\nHeart failure\n"]).vectors

    mean = (one + 2 * other) / 3
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_each_distinct_line_is_embedded_once_over_all_calls() -> None:
    inner = FakeEncoder()
    encoder = LineEncoder(inner)

    encoder.encode(["Asthma\nAnemia", "Anemia"])
    encoder.encode(["Anemia\nMigraine"])

    assert sorted(inner.seen) == ["Anemia", "Asthma", "Migraine"]


def test_a_text_has_the_same_vector_whatever_was_embedded_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ehrdb.encoder.lines.KEPT", 1)
    monkeypatch.setattr("ehrdb.encoder.lines.TEXTS", 2)
    texts = ["Asthma\nAnemia", "Anemia", "Migraine\nAsthma", "Anemia\nMigraine"]
    encoder = LineEncoder(FakeEncoder())

    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])

    assert np.array_equal(encoder.encode(texts).vectors, alone)


def test_tokens_are_those_of_all_lines() -> None:
    encoded = LineEncoder(FakeEncoder()).encode(["one two\nthree", "four"])

    assert encoded.token_counts.tolist() == [3, 1]
    assert encoded.truncated.tolist() == [False, False]


def test_a_line_that_fails_is_named_by_its_text_and_never_shown() -> None:
    encoder = LineEncoder(FakeEncoder(poison="Lupus"))

    with pytest.raises(NonFiniteVector, match="a line of text 1 cannot be embedded") as caught:
        encoder.encode(["Asthma", "Anemia\nLupus", "Lupus"])

    assert caught.value.index == 1
    assert "Lupus" not in str(caught.value)


def test_an_empty_text_is_named_by_its_position() -> None:
    with pytest.raises(EmptyText) as caught:
        LineEncoder(FakeEncoder()).encode(["Asthma", " \n"])

    assert caught.value.index == 1


@pytest.mark.export
def test_an_encoder_of_lines_is_made_without_torch_and_is_another_encoder(tmp_path: Path) -> None:
    from ehrdb.encoder.convert import convert

    manifest = convert(tmp_path / "lines", chunking="lines")
    encoder = open_encoder(tmp_path / "lines", manifest)

    assert isinstance(encoder, LineEncoder)
    lines = encoder.encode(["Asthma", "very high Creatinine"]).vectors
    (vector,) = encoder.encode(["Asthma\nvery high Creatinine"]).vectors
    np.testing.assert_allclose(vector, lines.sum(axis=0) / np.linalg.norm(lines.sum(axis=0)), atol=1e-6)
    assert manifest.digest != manifest.model_copy(update={"chunking": "mean"}).digest
