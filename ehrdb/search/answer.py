"""Answering questions in words that SQL sessions ask (`call ehr.search_text(...)`, `ehr.nearest_to_text(...)`)."""

from __future__ import annotations

from threading import Event
from time import monotonic
from uuid import UUID

import numpy as np
from pgvector import Vector

from ehrdb.database import Connection, Database, register_vectors
from ehrdb.embedding import registry
from ehrdb.embedding.load import LoadEncoder
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.encoder import Encoder
from ehrdb.patience import PASSING
from ehrdb.queries import Queries

CHANNEL = "ehrdb_search"
WORKER = "ehrdb worker"
_STOP_CHECK_SECONDS = 1.0
_HEAR_SECONDS = 0.1
"""How often sessions that cannot notify, because their transaction is open, are listened to."""
_queries = Queries("ehrdb.search")


def answer_searches(database: Database, load_encoder: LoadEncoder, stop: Event) -> None:
    """Embed the texts that sessions ask about, as they come, until `stop` is set.

    The connection's application_name tells sessions that somebody listens. A lost connection is made again. Questions
    are looked for every second as well, which is all there is behind a pooler: it passes no notification on.
    """
    while not stop.is_set():
        try:
            with database.session(WORKER) as listener:
                listener.execute(f"listen {CHANNEL}".encode())
                while not stop.is_set():
                    _answer_all(database, load_encoder)
                    _wait_for_question(listener)
        except PASSING:
            stop.wait(_STOP_CHECK_SECONDS)


def _wait_for_question(listener: Connection) -> None:
    """Until somebody notifies, somebody speaks, or a second has passed."""
    deadline = monotonic() + _STOP_CHECK_SECONDS
    while monotonic() < deadline:
        if listener.execute(_queries.hear).fetchone() == (True,):
            return
        if list(listener.notifies(timeout=_HEAR_SECONDS, stop_after=1)):
            return


def embed_query(connection: Connection, encoder: RegisteredEncoder, model: Encoder, query: str) -> Vector:
    """The vector of a description in words, under the encoder's neutral prompt as patients' texts are."""
    return vector_of(model, neutral_prompt(connection, encoder) + query)


def neutral_prompt(connection: Connection, encoder: RegisteredEncoder) -> str:
    """What stands in front of patients' texts."""
    row = connection.execute(_queries.neutral_prompt, {"encoder_id": encoder.encoder_id}).fetchone()
    assert row is not None
    return str(row[0])


def vector_of(model: Encoder, text: str) -> Vector:
    """One text's vector, as the database takes it."""
    return Vector(np.asarray(model.encode([text]).vectors[0], dtype=np.float32))


def _answer_all(database: Database, load_encoder: LoadEncoder) -> None:
    """Each question in transactions of its own, none open while the model runs."""
    while taken := _take(database):
        request_id, encoder, prompt, query = taken
        answer: dict[str, object] = {"request_id": request_id, "embedding": None, "error": None}
        try:
            answer["embedding"] = vector_of(load_encoder(encoder), prompt + query)
        except PASSING:
            raise
        except Exception as error:
            answer["error"] = type(error).__name__
        with database.transaction() as connection:
            register_vectors(connection)
            connection.execute(_queries.give_answer, answer)


def _take(database: Database) -> tuple[UUID, RegisteredEncoder, str, str] | None:
    with database.transaction() as connection:
        connection.execute(_queries.forget_requests)
        row = connection.execute(_queries.take_request).fetchone()
        if row is None:
            return None
        request_id, name, query = row
        encoder = registry.find(connection, name)
        return request_id, encoder, neutral_prompt(connection, encoder), query
