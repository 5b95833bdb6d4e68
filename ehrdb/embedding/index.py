"""The HNSW index that search uses: built after the vectors are there, without blocking anybody."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import ClientCursor, sql

from ehrdb.database import Connection, Database, extension_schema, is_pooled
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.errors import NotAllowed
from ehrdb.patience import patiently
from ehrdb.queries import Queries

logger = logging.getLogger(__name__)
_LOOK_SECONDS = 0.2
MAX_HALFVEC_DIMENSION = 4000  # of an HNSW index in pgvector
_WIDE_FROM = 100_000
"""Vectors above which an index is built wider than pgvector's default, or its recall falls (docs/performance.md)."""
_LINKS, _WIDE_LINKS = 16, 24
"""Of a vector in one layer of the graph: pgvector's m. ehrdb.search_width knows an index by them."""
_WIDE = sql.SQL(f" with (m = {_WIDE_LINKS}, ef_construction = 128)")
_queries = Queries("ehrdb.embedding")

# {vector} is the schema of the extension: behind a pooler a session has no search_path of its own.
_BY_VALUE = "(embedding::{vector}.halfvec({dimension})) {vector}.halfvec_cosine_ops"
_BY_PREFIX = (
    "({vector}.subvector(embedding, 1, {dimension})::{vector}.halfvec({dimension})) {vector}.halfvec_cosine_ops"
)
_BY_SIGN = "({vector}.binary_quantize(embedding)::bit({dimension})) {vector}.bit_hamming_ops"


@patiently
def ensure_index(database: Database, encoder: RegisteredEncoder, *, rebuild: bool = False) -> bool:
    """Build the encoder's index where search would use it and it is missing or half-built.

    A table that has grown is analyzed. Small sets are searched exactly and have none. Of more than 1,024 dimensions the
    index holds the first ones where the encoder was trained for that, and signs above 4,000; search ranks what it finds
    by the vectors themselves.
    Returns whether an index was built. One session builds at a time. Raises NotAllowed where one is to be built, which
    the table's owner alone may do; a worker's login is not that.
    """
    with _alone(database), database.session() as connection:
        if not is_pooled(connection):
            connection.execute(_queries.unhurried_session)
        row = connection.execute(_queries.index_state, {"encoder_id": encoder.encoder_id}).fetchone()
        is_wanted, is_there, is_valid, has_grown, owner, is_ours, patients = row or (*[False] * 4, "", True, 0)
        if not is_ours:
            if is_wanted and (rebuild or not is_valid):
                raise NotAllowed(
                    f"{connection.info.user} may not build the index of {encoder.name}: searches compare every patient",
                    hint=f"As {owner}, or a member of it: ehrdb index rebuild --encoder {encoder.name}",
                )
            return False
        if has_grown:
            connection.execute(sql.SQL("analyze {}").format(_table(encoder)))
        if is_there and (rebuild or not is_valid):
            connection.execute(sql.SQL("drop index concurrently {}").format(_index(encoder)))
        builds = is_wanted and (rebuild or not is_valid)
        if builds:
            dimension = _indexed_dimension(connection, encoder)
            _warn_of_memory(connection, encoder, building_bytes(patients, dimension))
            _build(connection, encoder, dimension, is_wide=_is_wide(patients))
        return builds


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """One session looks after indexes at a time.

    The lock belongs to a transaction of its own, which a pooler leaves alone. A concurrent build waits for all
    snapshots: so the lock is tried, not waited for, and by a client-side cursor, whose statements leave no portal open.
    """
    with database.transaction() as connection:
        cursor = ClientCursor(connection)
        while cursor.execute(_queries.try_lock_index).fetchone() != (True,):
            time.sleep(_LOOK_SECONDS)
        yield


def _warn_of_memory(connection: Connection, encoder: RegisteredEncoder, needed: int) -> None:
    """What does not fit into maintenance_work_mem takes pgvector many times longer. `needed`: bytes."""
    allowed, role = connection.execute(_queries.building_memory).fetchone() or (needed, "")
    if needed > allowed:
        logger.warning(
            "the index of %s takes %d MB while it is built, and maintenance_work_mem is %d MB: it will take many times "
            "longer so. Where the server has the memory: alter role %s set maintenance_work_mem = '%dMB';",
            *(encoder.name, needed / 2**20, allowed / 2**20, sql.Identifier(role).as_string(), needed // 2**20 + 1),
        )


def building_bytes(vectors: int, dimension: int) -> int:
    """Memory that pgvector 0.8 takes while it builds an index of so many vectors, of `dimension` indexed dimensions."""
    of_a_vector = 2 * dimension if dimension <= MAX_HALFVEC_DIMENSION else dimension // 8
    links = _WIDE_LINKS if _is_wide(vectors) else _LINKS
    return vectors * (of_a_vector + 208 + 32 * links)


def _is_wide(vectors: int) -> bool:
    return vectors > _WIDE_FROM


def _build(connection: Connection, encoder: RegisteredEncoder, dimension: int, *, is_wide: bool) -> None:
    by_number = _BY_VALUE if dimension == encoder.dimension else _BY_PREFIX
    expression = by_number if dimension <= MAX_HALFVEC_DIMENSION else _BY_SIGN
    connection.execute(
        sql.SQL("create index concurrently {} on {} using hnsw ({}){}").format(
            sql.Identifier(_name(encoder) + "_hnsw"),
            _table(encoder),
            sql.SQL(expression).format(dimension=sql.Literal(dimension), vector=extension_schema(connection)),
            _WIDE if is_wide else sql.SQL(""),
        )
    )


def _indexed_dimension(connection: Connection, encoder: RegisteredEncoder) -> int:
    row = connection.execute(_queries.indexed_dimension, {"encoder_id": encoder.encoder_id}).fetchone()
    assert row is not None
    return int(row[0])


def _name(encoder: RegisteredEncoder) -> str:
    return f"patient_embedding_{encoder.encoder_id}"


def _table(encoder: RegisteredEncoder) -> sql.Identifier:
    return sql.Identifier("ehrdb", _name(encoder))


def _index(encoder: RegisteredEncoder) -> sql.Identifier:
    return sql.Identifier("ehrdb", _name(encoder) + "_hnsw")
