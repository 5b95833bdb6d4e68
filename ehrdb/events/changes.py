"""Whose rows are others than at the source's last load, found where the rows are: nobody else's need be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import sql

from ehrdb import __version__
from ehrdb.database import Connection
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events", "changes.sql")
Columns = Mapping[str, Sequence[str]]
"""Tables `raw_<name>` and the columns of them that the load reads, as text."""


def find_changes(connection: Connection, patients: Columns, rules: bytes | None) -> bool:
    """Digest the rows of each patient; whether only those in pg_temp.read_patient need to be read.

    `patients` are tables with a person_id, `rules` is the digest of what all patients are read by. Everybody is to be
    read where that is another than at the last load, where a row says of nobody whose it is, or where the load was
    asked to read all.
    """
    digests = sql.SQL(" union all ").join(_of_patients(name, columns) for name, columns in patients.items())
    connection.execute(sql.SQL(_queries.digest_patients.decode()).format(digests=digests))
    return compare_digests(connection, rules)


def compare_digests(connection: Connection, rules: bytes | None) -> bool:
    """The same for digests that stand in pg_temp.patient_digest already."""
    connection.execute(_queries.set_rules, {"rules": rules})
    connection.execute(_queries.find_changed)
    return is_partial(connection)


def digest_rules(connection: Connection, rules: Columns, settings: object) -> bytes:
    """A digest of what all patients are read by: tables (the vocabulary), settings, this program."""
    tables = sql.SQL(" union all ").join(_of_table(name, columns) for name, columns in rules.items())
    whole = {"settings": repr((__version__, settings))}
    row = connection.execute(sql.SQL(_queries.digest_rules.decode()).format(tables=tables), whole).fetchone()
    assert row is not None
    return bytes(row[0])


def is_partial(connection: Connection) -> bool:
    """Whether this load reads some of its source's patients only."""
    row = connection.execute(_queries.is_partial).fetchone()
    return row is not None and bool(row[0])


def to_read(connection: Connection) -> list[int]:
    """Who changed, came or went."""
    return [row[0] for row in connection.execute(_queries.to_read)]


def someone_to_read(connection: Connection) -> bool:
    """Whether anybody changed, came or went."""
    return connection.execute(_queries.any_changed).fetchone() is not None


def count_unread(connection: Connection) -> int:
    """Patients of the source who were not read; 0 where all were."""
    row = connection.execute(_queries.count_unread).fetchone()
    assert row is not None
    return int(row[0])


def digest_of_portion(connection: Connection, *, with_rows: bool) -> bytes:
    """A digest of all patients' digests, whether or not they are to be read or may be kept; `with_rows`: and of what
    was staged of them."""
    row = connection.execute(_queries.digest_of_portion, {"with_rows": with_rows}).fetchone()
    assert row is not None
    return bytes(row[0])


def remember_patients(connection: Connection) -> None:
    """Keep the digests of those who are loaded, for the next load. Of nobody else: who was purged leaves no trace."""
    connection.execute(_queries.remember_patients)


def _of_patients(name: str, columns: Sequence[str]) -> sql.Composable:
    return sql.SQL(
        "select {}::text as name, r.person_id, count(*) as rows, sum(hash_record_extended(r, 1)) as digest"
        " from (select {} from {}) r group by r.person_id"
    ).format(sql.Literal(name), _listed(columns), sql.Identifier(f"raw_{name}"))


def _of_table(name: str, columns: Sequence[str]) -> sql.Composable:
    return sql.SQL(
        "select {}::text as name, count(*) as rows, sum(hash_record_extended(r, 1)) as digest"
        " from (select {} from {}) r"
    ).format(sql.Literal(name), _listed(columns), sql.Identifier(f"raw_{name}"))


def _listed(columns: Sequence[str]) -> sql.Composable:
    return sql.SQL(", ").join(sql.Identifier(column) for column in sorted(columns))
