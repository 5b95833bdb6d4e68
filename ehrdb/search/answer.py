"""Answering questions in words that SQL sessions ask (`call ehr.search_text(...)`)."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import numpy as np
import psycopg
from pgvector import Vector
from pgvector.psycopg import register_vector

from ehrdb.database import Connection, Database
from ehrdb.embedding import registry
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.encoder import Encoder
from ehrdb.queries import Queries

CHANNEL = "ehrdb_search"
WORKER = "ehrdb worker"
_STOP_CHECK_SECONDS = 1.0
_queries = Queries("ehrdb.search")

LoadEncoder = Callable[[RegisteredEncoder], Encoder]


def answer_searches(database: Database, load_encoder: LoadEncoder, stop: Event) -> None:
    """Embed the texts that sessions ask about, as they come, until `stop` is set.

    The connection's application_name tells sessions that somebody listens. A lost connection is made again.
    """
    while not stop.is_set():
        try:
            with psycopg.connect(database.url, autocommit=True, application_name=WORKER) as connection:
                register_vector(connection)
                connection.execute(f"listen {CHANNEL}".encode())
                while not stop.is_set():
                    _answer_all(connection, load_encoder)
                    for _ in connection.notifies(timeout=_STOP_CHECK_SECONDS, stop_after=1):
                        pass
        except psycopg.OperationalError:
            stop.wait(_STOP_CHECK_SECONDS)


def embed_query(connection: Connection, encoder: RegisteredEncoder, model: Encoder, query: str) -> Vector:
    """The vector of a description in words, under the encoder's neutral prompt as patients' texts are."""
    row = connection.execute(_queries.neutral_prompt, {"encoder_id": encoder.encoder_id}).fetchone()
    assert row is not None
    return Vector(np.asarray(model.encode([row[0] + query]).vectors[0], dtype=np.float32))


def _answer_all(connection: Connection, load_encoder: LoadEncoder) -> None:
    while row := connection.execute(_queries.take_request).fetchone():
        request_id, name, query = row
        answer: dict[str, object] = {"request_id": request_id, "embedding": None, "error": None}
        try:
            encoder = registry.find(connection, name)
            answer["embedding"] = embed_query(connection, encoder, load_encoder(encoder), query)
        except psycopg.OperationalError:
            raise
        except Exception as error:
            answer["error"] = type(error).__name__
        connection.execute(_queries.give_answer, answer)
