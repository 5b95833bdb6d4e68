"""An encoder that a site serves already, over an OpenAI-compatible endpoint (vLLM, TEI, Ollama, llama.cpp).

Texts go to hosts that the administrator has named (EHRDB_ENDPOINTS) and nowhere else: no redirect and no proxy is
followed. What makes it the same encoder tomorrow are vectors of made-up texts, kept beside the manifest: they are
asked for again when a worker starts, and one of them with every request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

import numpy as np
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ehrdb.encoder import Encoded, in_order
from ehrdb.encoder.manifest import AGAIN, Manifest, file_digest
from ehrdb.encoder.parity import made_up_texts
from ehrdb.encoder.pooling import Floats
from ehrdb.encoder.prompts import split_prompt
from ehrdb.encoder.writing import Register, made_beside
from ehrdb.errors import ConfigError, EmptyText, EndpointError, ItemError, ModelIncomplete, NonFiniteVector

REFERENCE = "reference.npz"
REFERENCE_TEXTS = 8
SAME = 0.999
"""Cosine of two answers to the same text, at least: servers at half precision differ a little with the batch."""
CHARACTERS_PER_TOKEN = 3
"""Of a text that may be sent: few tokens are shorter, and only the server has the tokenizer."""
BATCH_TEXTS, BATCH_CHARACTERS = 32, 200_000
REQUESTS = 4  # under way at a time
ATTEMPTS, SECONDS = 5, 120.0
TOO_MUCH = (400, 413, 422)  # what servers answer to a text that is too long for them


@dataclass(frozen=True)
class Reference:
    """Made-up texts, their vectors (n, dimension) at the export, and the model that the server named then."""

    texts: list[str]
    vectors: Floats
    served: str


@dataclass(frozen=True)
class Server:
    """Where to ask, and for which model. `wait`: seconds at most between attempts."""

    url: str
    model: str
    key: str | None = None
    wait: float = 20.0

    def embed(self, texts: Sequence[str]) -> tuple[Floats, str, int]:
        """Vectors (n, dimension) in the order of the texts, the model that the server names, tokens counted.

        Asks again where the server is busy or unreachable. Raises EndpointError, which never holds an answer's
        text; _Refused where the server will not take these texts.
        """
        attempts = Retrying(
            retry=retry_if_exception_type(_Later),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(0.5, max=self.wait),
            reraise=True,
        )
        try:
            answer = attempts(self._post, {"model": self.model, "input": list(texts), "encoding_format": "float"})
        except _Later as error:
            raise EndpointError(
                f"{self.url} cannot be asked ({error}, {ATTEMPTS} times)", hint="Is the server running?"
            ) from None
        return _vectors(answer, len(texts), self.url), str(answer.get("model", "")), _tokens(answer)

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        request = Request(f"{self.url.rstrip('/')}/embeddings", json.dumps(body).encode(), headers)
        try:
            with _opener().open(request, timeout=SECONDS) as response:
                answer = json.load(response)
        except HTTPError as error:
            error.close()
            raise _failure(self.url, error.code) from None
        except (URLError, OSError, HTTPException) as error:
            raise _Later(type(getattr(error, "reason", error)).__name__) from None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise EndpointError(f"{self.url} does not answer in JSON", hint="Name the address up to /v1.")
        return answer


class EndpointEncoder:
    """Sends texts in batches and sees to it that the server is still the one of the export."""

    def __init__(self, manifest: Manifest, server: Server, known: Reference) -> None:
        self.manifest = manifest
        self._server = server
        self._known = known
        vectors, served, _ = server.embed(known.texts)
        self._require_same(vectors, known.vectors, served)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """All vectors in the order of `texts`."""
        return in_order(self.manifest.dimension, self.encode_batches(texts))

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Encoded]]:
        """Batches as they are answered; see Encoder. A text's tokens are its share of what the server counted."""
        for index, text in enumerate(texts):
            if not split_prompt(text)[1].strip():
                raise EmptyText(f"text {index} is empty", index=index)
        longest = self.manifest.max_tokens * CHARACTERS_PER_TOKEN
        cut = [self.manifest.prefix + text[:longest] for text in texts]
        batches = list(_batches(cut))
        workers = ThreadPoolExecutor(REQUESTS)
        try:
            answers = workers.map(lambda batch: self._ask(batch, [cut[i] for i in batch]), batches)
            for batch, (vectors, counts) in zip(batches, answers, strict=True):
                yield batch, Encoded(vectors, counts, np.array([len(texts[i]) > longest for i in batch], np.bool_))
        finally:
            workers.shutdown(cancel_futures=True)

    def _ask(self, indices: list[int], texts: list[str]) -> tuple[Floats, Any]:
        """One request, with a text whose vector is known behind the others."""
        try:
            answered, served, tokens = self._server.embed([*texts, self._known.texts[0]])
        except _Refused as error:
            return self._one_by_one(indices, texts, error)
        self._require_same(answered[-1:], self._known.vectors[:1], served)
        vectors = answered[:-1]
        directed = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
        if not directed.all():
            index = indices[int(np.argmin(directed))]
            raise NonFiniteVector(f"the vector of text {index} is not finite, or nothing but zeros", index=index)
        lengths = np.array([len(text) for text in texts])
        counts = np.maximum(1, tokens * lengths // (lengths.sum() + len(self._known.texts[0])))
        return _finished(vectors, self.manifest), counts.astype(np.int64)

    def _one_by_one(self, indices: list[int], texts: list[str], error: _Refused) -> tuple[Floats, Any]:
        """Find the text that the server will not take."""
        if len(texts) == 1:
            raise ItemError(
                f"the endpoint refuses text {indices[0]} (HTTP {error.status})",
                index=indices[0],
                hint="Too long for it? Export again with a lower --max-tokens, or let the server truncate.",
            ) from None
        parts = [self._ask([index], [text]) for index, text in zip(indices, texts, strict=True)]
        return np.concatenate([vectors for vectors, _ in parts]), np.concatenate([counts for _, counts in parts])

    def _require_same(self, vectors: Floats, known: Floats, served: str) -> None:
        hint = "Start the model of the export again, or export under another --name: vectors never mix."
        if served != self._known.served:
            raise EndpointError(f"{self._server.url} serves another model than at the export", hint=hint)
        if vectors.shape != known.shape:
            raise EndpointError(
                f"{self._server.url} gives {vectors.shape[1]} dimensions, at the export {known.shape[1]}", hint=hint
            )
        if not _cosines(vectors, known).min() >= SAME:  # NaN is not the same either
            raise EndpointError(f"{self._server.url} gives other vectors than at the export", hint=hint)


def export_endpoint(
    server: Server,
    directory: Path,
    *,
    name: str,
    max_tokens: int = 8192,
    prefix: str = "",
    dimension: int | None = None,
    instructed: bool = False,
    register: Register = lambda manifest: None,
) -> Manifest:
    """Make a served model an encoder: `directory` gets vectors of made-up texts and a manifest.

    `prefix` goes in front of every text, a task's instruction where `instructed`; what is longer than `max_tokens`
    is cut. Raises EndpointError where the server's answers to the same text differ, or are shorter than `dimension`.
    """
    with made_beside(directory) as work:
        known = _ask_twice(server)
        if dimension and dimension > known.vectors.shape[1]:
            raise EndpointError(f"{server.url} gives {known.vectors.shape[1]} dimensions", hint="Lower --dimension.")
        np.savez(work / REFERENCE, texts=np.array(known.texts), vectors=known.vectors, served=np.array(known.served))
        manifest = Manifest(
            name=name,
            source=server.model,
            revision=None,
            architecture="endpoint",
            weights_digest=hashlib.sha256(server.model.encode()).hexdigest(),
            pooling="served",
            chunking="none",
            normalize=True,
            dimension=dimension or known.vectors.shape[1],
            max_tokens=max_tokens,
            chunk_tokens=max_tokens,
            max_chunks=1,
            precision="served",
            prefix=prefix,
            prompt_template=instructed,
            matryoshka_dimensions=(),
            endpoint=server.url,
            parity=None,
            versions={},
            files={REFERENCE: file_digest(work / REFERENCE)},
        )
        manifest.save(work)
        register(manifest)
    return manifest


def _ask_twice(server: Server) -> Reference:
    """All texts together, then each alone."""
    texts = made_up_texts(REFERENCE_TEXTS)
    vectors, served, _ = server.embed(texts)
    alone = np.concatenate([server.embed([text])[0] for text in texts])
    if not np.isfinite(vectors).all() or vectors.shape != alone.shape or _cosines(vectors, alone).min() < SAME:
        raise EndpointError(
            f"{server.url} gives the same text different vectors", hint="Is more than one model behind that address?"
        )
    return Reference(texts, vectors, served)


def open_endpoint(directory: Path, manifest: Manifest, allowed: Sequence[str], key: str | None) -> EndpointEncoder:
    """The running encoder of a manifest that names an endpoint, which must be among `allowed`.

    Raises ConfigError for an address that is not, EndpointError for a server that is not as it was.
    """
    assert manifest.endpoint
    require_allowed(manifest.endpoint, allowed)
    try:
        with np.load(directory / REFERENCE, allow_pickle=False) as kept:
            known = Reference(kept["texts"].tolist(), kept["vectors"], str(kept["served"]))
    except (OSError, ValueError, KeyError):
        raise ModelIncomplete(f"{directory / REFERENCE} cannot be read", hint=AGAIN) from None
    return EndpointEncoder(manifest, Server(manifest.endpoint, manifest.source, key), known)


def require_allowed(url: str, allowed: Sequence[str]) -> None:
    """Raise ConfigError unless scheme, host and port of `url` are those of an address that the administrator named."""
    asked = urlsplit(url)
    if asked.scheme not in ("http", "https") or not asked.hostname or asked.username or asked.password:
        raise ConfigError("the endpoint is not an address", hint="For example: --endpoint http://gpu-server:8000/v1")
    if _host(url) not in map(_host, allowed):
        raise ConfigError(
            f"no texts may be sent to {asked.scheme}://{asked.netloc}",
            hint=f"An administrator allows it with EHRDB_ENDPOINTS={asked.scheme}://{asked.netloc}",
        )


class _Later(Exception):
    """Worth asking again."""


class _Refused(EndpointError):
    """The server will not take these texts."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(
            f"{url} refuses texts (HTTP {status})", hint="Lower --max-tokens, or look at the server's log."
        )
        self.status = status


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Nowhere else."""


def _opener() -> OpenerDirector:
    return build_opener(ProxyHandler({}), _NoRedirect)


def _failure(url: str, status: int) -> Exception:
    if status == 429 or status >= 500:
        return _Later(f"HTTP {status}")
    if status in TOO_MUCH:
        return _Refused(url, status)
    hints = {401: "Set EHRDB_ENDPOINT_KEY.", 403: "Set EHRDB_ENDPOINT_KEY.", 404: "Name the address up to /v1."}
    return EndpointError(f"{url} answers HTTP {status}", hint=hints.get(status, "Look at the server's log."))


def _vectors(answer: dict[str, Any], count: int, url: str) -> Floats:
    """Raises EndpointError where there is not one vector per text, of one length, in the order of the texts."""
    try:
        order = [item["index"] for item in answer["data"]]
        vectors = np.array([item["embedding"] for item in answer["data"]], dtype=np.float32)
    except (KeyError, TypeError, ValueError):
        raise EndpointError(f"{url} does not answer with vectors", hint="Is it an embedding model?") from None
    if order != list(range(count)):
        raise EndpointError(f"{url} does not answer in the order of the texts", hint="Update the server.")
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise EndpointError(f"{url} does not answer with one vector per text", hint="Is it an embedding model?")
    return vectors


def _tokens(answer: dict[str, Any]) -> int:
    usage = answer.get("usage")
    counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return counted if isinstance(counted, int) else 0


def _finished(vectors: Floats, manifest: Manifest) -> Floats:
    cut = vectors[:, : manifest.dimension]
    return np.asarray(cut / np.linalg.norm(cut, axis=1, keepdims=True), dtype=np.float32)


def _cosines(a: Floats, b: Floats) -> Floats:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / lengths, dtype=np.float32)


def _batches(texts: Sequence[str]) -> Iterator[list[int]]:
    """Positions, longest texts first, as many as one request may hold."""
    batch: list[int] = []
    used = 0
    for index in sorted(range(len(texts)), key=lambda i: -len(texts[i])):
        if batch and (len(batch) == BATCH_TEXTS or used + len(texts[index]) > BATCH_CHARACTERS):
            yield batch
            batch, used = [], 0
        batch.append(index)
        used += len(texts[index])
    if batch:
        yield batch


def _host(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url.strip())
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
