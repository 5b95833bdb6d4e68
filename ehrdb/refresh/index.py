"""The HNSW index that search uses: built after the vectors are there, without blocking anybody."""

from __future__ import annotations

from psycopg import sql

from ehrdb.database import Database, driver_connection
from ehrdb.encoder.registry import RegisteredEncoder
from ehrdb.queries import Queries

MAX_INDEXED_DIMENSION = 4000  # pgvector's limit for halfvec
_queries = Queries("ehrdb.refresh")


def ensure_index(database: Database, encoder: RegisteredEncoder) -> None:
    """Build the encoder's index if it is missing, and refresh the planner's statistics."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as carrier:
        connection = driver_connection(carrier)
        table = sql.Identifier("ehrdb", f"patient_embedding_{encoder.encoder_id}")
        row = connection.execute(_queries.is_indexed, {"encoder_id": encoder.encoder_id}).fetchone()
        if encoder.dimension <= MAX_INDEXED_DIMENSION and row and not row[0]:
            connection.execute(
                sql.SQL(
                    "create index concurrently {} on {} using hnsw"
                    " ((embedding::public.halfvec({})) public.halfvec_cosine_ops)"
                ).format(
                    sql.Identifier(f"patient_embedding_{encoder.encoder_id}_hnsw"),
                    table,
                    sql.Literal(encoder.dimension),
                )
            )
        connection.execute(sql.SQL("analyze {}").format(table))
