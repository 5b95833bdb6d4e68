"""A served model as an encoder, against a server on this machine that can be made to misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ehrdb.encoder.endpoint import (
    BATCH_TEXTS,
    CHARACTERS_PER_TOKEN,
    EndpointEncoder,
    Server,
    export_endpoint,
    open_endpoint,
    require_allowed,
)
from ehrdb.encoder.manifest import Manifest, load_manifest
from ehrdb.errors import ConfigError, DigestMismatch, EmptyText, EndpointError, ItemError, NonFiniteVector
from ehrdb.testing import FakeEncoder
from tests.encoder.served import Answer, Served, serving

TEXTS = [f"Asthma {number}" for number in range(BATCH_TEXTS + 5)]


@pytest.fixture
def served() -> Iterator[tuple[Served, Server]]:
    with serving() as started:
        yield started


def test_vectors_are_the_servers_scaled_to_unit_length_in_the_order_of_the_texts(
    served: tuple[Served, Server], tmp_path: Path
) -> None:
    encoder, manifest = connected(served, tmp_path)

    encoded = encoder.encode(TEXTS)

    np.testing.assert_allclose(encoded.vectors, FakeEncoder().encode(TEXTS).vectors, atol=1e-6)
    assert encoded.token_counts.min() >= 1
    assert (manifest.architecture, manifest.dimension, manifest.source) == ("endpoint", 8, "tiny")
    assert load_manifest(tmp_path / "encoder") == manifest


def test_texts_go_in_batches_to_the_named_model_with_the_key(served: tuple[Served, Server], tmp_path: Path) -> None:
    encoder, _ = connected(served, tmp_path)
    does = served[0]
    does.asked.clear()

    encoder.encode(TEXTS)

    assert sorted(len(body["input"]) for body in does.asked) == [5 + 1, BATCH_TEXTS + 1]
    assert {body["model"] for body in does.asked} == {"tiny"}
    assert {headers["Authorization"] for headers in does.headers} == {"Bearer secret"}


def test_a_busy_server_is_asked_again(served: tuple[Served, Server], tmp_path: Path) -> None:
    encoder, _ = connected(served, tmp_path)
    served[0].statuses[:] = [503, 429]

    assert encoder.encode(["Asthma"]).vectors.shape == (1, 8)


def test_a_server_that_stays_away_is_an_error_without_its_words(served: tuple[Served, Server], tmp_path: Path) -> None:
    encoder, _ = connected(served, tmp_path)
    served[0].statuses[:] = [500] * 9

    with pytest.raises(EndpointError, match=r"HTTP 500, 5 times") as caught:
        encoder.encode(["Secret diagnosis"])

    assert "Secret" not in str(caught.value)


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(EndpointError, match="cannot be asked"):
        Server("http://127.0.0.1:9/v1", "tiny", wait=0.01).embed(["Asthma"])


def reversed_answers(answer: Answer) -> Answer:
    return answer | {"data": answer["data"][::-1]}


def swapped_vectors(answer: Answer) -> Answer:
    """In order, so it says, but the vectors are another text's."""
    vectors = [item["embedding"] for item in answer["data"]]
    return answer | {"data": [{"index": i, "embedding": vector} for i, vector in enumerate(vectors[::-1])]}


def shorter(answer: Answer) -> Answer:
    return answer | {"data": [item | {"embedding": item["embedding"][:4]} for item in answer["data"]]}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (reversed_answers, "order of the texts"),
        (swapped_vectors, "other vectors"),
        (shorter, "4 dimensions, at the export 8"),
        (lambda answer: answer | {"model": "another"}, "another model"),
        (lambda answer: answer | {"data": answer["data"][:-1]}, "order of the texts"),
        (lambda answer: {"error": "no"}, "with vectors"),
        (lambda answer: b"<html>", "JSON"),
        (lambda answer: answer | {"data": [{"index": 0, "embedding": "x"}]}, "with vectors"),
    ],
)
def test_a_server_that_is_no_longer_the_one_of_the_export_is_an_error(
    served: tuple[Served, Server], tmp_path: Path, spoil: Callable[[Answer], Any], message: str
) -> None:
    encoder, _ = connected(served, tmp_path)
    served[0].spoil = spoil

    with pytest.raises(EndpointError, match=message):
        encoder.encode(["Asthma", "Anemia"])


def test_another_model_under_the_same_name_is_seen_when_a_worker_starts(
    served: tuple[Served, Server], tmp_path: Path
) -> None:
    _, manifest = connected(served, tmp_path)
    served[0].model = Other()

    with pytest.raises(EndpointError, match="other vectors"):
        open_endpoint(tmp_path / "encoder", manifest, [served[1].url], None)


def test_a_server_that_answers_at_random_cannot_become_an_encoder(
    served: tuple[Served, Server], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    served[0].spoil = lambda answer: (
        answer | {"data": [item | {"embedding": random.normal(size=8).tolist()} for item in answer["data"]]}
    )

    with pytest.raises(EndpointError, match="different vectors"):
        export_endpoint(served[1], tmp_path / "encoder", name="served")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spoilt", [float("nan"), 0.0])
def test_a_vector_without_a_direction_is_named_by_its_text(
    served: tuple[Served, Server], tmp_path: Path, spoilt: float
) -> None:
    encoder, _ = connected(served, tmp_path)

    def spoil(answer: Answer) -> Answer:
        answer["data"][1]["embedding"] = [spoilt] * len(answer["data"][1]["embedding"])
        return answer

    served[0].spoil = spoil
    with pytest.raises(NonFiniteVector, match="text 1") as caught:
        encoder.encode(["longer text", "text"])

    assert caught.value.index == 1


def test_the_text_that_a_server_refuses_is_named_and_not_shown(served: tuple[Served, Server], tmp_path: Path) -> None:
    encoder, _ = connected(served, tmp_path)
    served[0].longest = 5000

    with pytest.raises(ItemError, match="refuses text 1") as caught:
        encoder.encode(["Asthma", "Secret " * 1000])

    assert caught.value.index == 1
    assert "Secret" not in str(caught.value)


def test_a_long_text_is_cut_before_it_is_sent(served: tuple[Served, Server], tmp_path: Path) -> None:
    encoder, manifest = connected(served, tmp_path, max_tokens=100)
    served[0].asked.clear()

    encoded = encoder.encode(["a" * 5000])

    assert encoded.truncated.tolist() == [True]
    assert len(served[0].asked[0]["input"][0]) == manifest.max_tokens * CHARACTERS_PER_TOKEN


def test_an_empty_text_is_not_sent(served: tuple[Served, Server], tmp_path: Path) -> None:
    encoder, _ = connected(served, tmp_path)

    with pytest.raises(EmptyText, match="text 1"):
        encoder.encode(["Asthma", " "])


def test_a_redirect_is_not_followed(served: tuple[Served, Server], tmp_path: Path) -> None:
    encoder, _ = connected(served, tmp_path)
    served[0].statuses[:] = [302]

    with pytest.raises(EndpointError, match="HTTP 302"):
        encoder.encode(["Asthma"])


def test_no_proxy_of_the_environment_sees_a_text(
    served: tuple[Served, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    encoder, _ = connected(served, tmp_path)

    assert encoder.encode(["Asthma"]).vectors.shape == (1, 8)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://gpu:8000/v1", ""),
        ("http://gpu:8001/v1", "http://gpu:8000"),
        ("https://gpu:8000/v1", "http://gpu:8000"),
        ("http://gpu.evil.example:8000/v1", "http://gpu:8000"),
        ("http://gpu:8000@evil.example/v1", "http://gpu:8000"),
        ("file:///etc/passwd", "http://gpu:8000"),
    ],
)
def test_texts_go_nowhere_that_the_administrator_did_not_name(url: str, allowed: str) -> None:
    with pytest.raises(ConfigError):
        require_allowed(url, allowed.split(",") if allowed else [])


def test_an_address_is_allowed_by_its_scheme_host_and_port() -> None:
    require_allowed("https://gpu/v1", ["http://other:1", "https://gpu:443/anything"])


def test_a_worker_does_not_start_where_its_address_is_no_longer_allowed(
    served: tuple[Served, Server], tmp_path: Path
) -> None:
    _, manifest = connected(served, tmp_path)

    with pytest.raises(ConfigError, match="no texts may be sent"):
        open_endpoint(tmp_path / "encoder", manifest, [], None)


def test_kept_vectors_that_were_changed_are_refused(served: tuple[Served, Server], tmp_path: Path) -> None:
    connected(served, tmp_path)
    with (tmp_path / "encoder" / "reference.npz").open("ab") as file:
        file.write(b" ")

    with pytest.raises(DigestMismatch):
        load_manifest(tmp_path / "encoder")


def test_the_same_model_at_another_address_is_the_same_encoder(served: tuple[Served, Server], tmp_path: Path) -> None:
    _, manifest = connected(served, tmp_path)

    assert manifest.model_copy(update={"endpoint": "http://elsewhere/v1"}).digest == manifest.digest


def test_vectors_are_cut_to_the_dimension_asked_for(served: tuple[Served, Server], tmp_path: Path) -> None:
    encoder, _ = connected(served, tmp_path, dimension=4)

    expected = FakeEncoder().encode(["Asthma"]).vectors[:, :4]
    np.testing.assert_allclose(encoder.encode(["Asthma"]).vectors, expected / np.linalg.norm(expected), atol=1e-6)


def connected(served: tuple[Served, Server], folder: Path, **options: Any) -> tuple[EndpointEncoder, Manifest]:
    """An encoder of the server, opened as a worker does."""
    _, server = served
    manifest = export_endpoint(server, folder / "encoder", name="served", **options)
    encoder = open_endpoint(folder / "encoder", manifest, [server.url], server.key)
    encoder._server = server  # with its short waits
    return encoder, manifest


class Other(FakeEncoder):
    """The same dimension, other vectors."""

    def encode(self, texts):  # type: ignore[no-untyped-def]
        """Of other texts."""
        return super().encode([text + "!" for text in texts])
