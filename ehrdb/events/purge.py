"""Forgetting patients, and proving it."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from ehrdb.database import Connection, Database, require_whole
from ehrdb.errors import DatabaseError, NotFound
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events", "purge.sql")


def purge(database: Database, patient_ids: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Remove everything of these patients; rows of theirs before and after, per table.

    Vectors that no other patient shows go as well. Loads leave purged patients out, by a keyed hash of their ids,
    unless told to let them return. Raises NotFound for an unknown patient, DatabaseError while a load, labels or
    predictions are being written; nothing is removed then.
    """
    ids = {"patient_ids": list(patient_ids)}
    with database.transaction() as connection:
        require_whole(connection)
        connection.execute(_queries.wait_to_purge)
        unknown = connection.execute(_queries.unknown, ids).fetchone()
        if unknown:
            raise NotFound(f"unknown patient {unknown[0]}", hint="See: select patient_id from ehr.patient;")
        before = _count(connection, patient_ids)
        connection.execute(_queries.purge_patients, ids)
        connection.execute(_queries.bar_return, ids)
        connection.execute(_queries.forget_statistics)
        after = _count(connection, patient_ids)
        if any(after.values()):
            raise DatabaseError(
                f"rows of these patients were written meanwhile ({', '.join(name for name in after if after[name])})",
                hint="Nothing was removed; purge again.",
            )
    return {table: (count, after[table]) for table, count in before.items()}


def _count(connection: Connection, patient_ids: Sequence[int]) -> dict[str, int]:
    """Rows of these patients in every table that knows patients."""
    counts = {}
    for (table,) in connection.execute(_queries.patient_tables).fetchall():
        statement = sql.SQL("select count(*) from ehrdb.{} where patient_id = any (%s)").format(sql.Identifier(table))
        row = connection.execute(statement, [list(patient_ids)]).fetchone()
        counts[table] = int(row[0]) if row else 0
    return counts
