"""Cohorts as people have them (ids, a column, a query, an OMOP cohort) as patient ids; and the audit's notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import psycopg
from psycopg import sql

from ehrdb.database import Connection
from ehrdb.errors import ConfigError
from ehrdb.queries import Queries

_queries = Queries("ehrdb", "cohorts.sql")
_NUMBER = re.compile(r"\s*\d+\s*", re.ASCII)


@dataclass(frozen=True)
class OmopCohort:
    """The subjects of a cohort of the OMOP CDM: `OmopCohort(17)`, or `OmopCohort(17, "atlas.cohort")`.

    Without a table, the one that EHRDB_COHORT_TABLE (in SQL: ehrdb.cohort_table) names, results.cohort unless set.
    """

    cohort_definition_id: int
    table: str | None = None


Cohort = Any
"""Who is meant: None for everybody, a patient id, ids (list, array, Series), a frame with a column patient_id (or
subject_id), a SQL query that selects ids, an OmopCohort, or its id as text ("17"). `Any`, as frames of several
libraries are among them."""


def record(
    connection: Connection, what: str, *, patients: Sequence[int] | None = None, cohort_size: int | None = None
) -> None:
    """Add to the audit, where the database can be written to (a standby cannot)."""
    ids = None if patients is None else list(patients)
    connection.execute(_queries.record, {"what": what, "patients": ids, "cohort_size": cohort_size})


def if_named(cohort: Any) -> Any:
    """The OMOP cohort whose id stands there as text; anything else as it is."""
    return OmopCohort(int(cohort)) if isinstance(cohort, str) and _NUMBER.fullmatch(cohort) else cohort


def resolve(connection: Connection, cohort: Cohort) -> list[int] | None:
    """The patient ids that a cohort holds, None for everybody; its size is in the audit.

    Raises ConfigError for what is no cohort.
    """
    if cohort is None:
        return None
    cohort = if_named(cohort)
    if isinstance(cohort, str):
        ids = _selected(connection, sql.SQL(cohort))
    elif isinstance(cohort, OmopCohort):
        ids = _members(connection, cohort)
    else:
        ids = _listed(cohort)
    record(connection, "cohort", cohort_size=len(ids))
    return ids


def keep(connection: Connection, cohort_definition_id: int, patients: Sequence[int], as_of: Any = None) -> None:
    """Write patients as the rows of an OMOP cohort, from their first event to their last at or before `as_of`.

    Into the site's cohort table, made if it is missing. Raises ConfigError where the cohort has rows already.
    """
    values = {
        "cohort_definition_id": definition_id(cohort_definition_id),
        "patients": list(patients),
        "as_of": as_of or "infinity",
    }
    row = connection.execute(_queries.cohort_table).fetchone()
    assert row is not None
    table = sql.Identifier(*row[0])
    make, count, write = (sql.SQL(query.decode()) for query in (_queries.make, _queries.has_rows, _queries.write))
    connection.execute(make.format(table=table))
    connection.execute(_queries.require_plain, {"name": table.as_string()})
    if connection.execute(count.format(table=table), values).fetchone() is not None:
        raise ConfigError(
            f"cohort {cohort_definition_id} has rows in {'.'.join(row[0])} already",
            hint="Choose another --to-cohort, or delete its rows first.",
        )
    connection.execute(write.format(table=table), values)


def _selected(connection: Connection, query: sql.Composable) -> list[int]:
    try:
        # A comment at the query's end ends before the bracket.
        row = ask(connection, sql.SQL("select array(select c::bigint from ({}\n) q (c))").format(query))
    except psycopg.Error as error:
        raise ConfigError(
            f"the cohort is not a query of patient ids ({type(error).__name__})",
            hint="For example: \"select patient_id from ehr.patient where birth_time < '1950-01-01'\".",
        ) from None
    return list(row[0])


def ask(connection: Connection, statement: sql.Composed) -> tuple[Any, ...]:
    """The one row of somebody's statement, read-only, with their rights and names: whatever it does is rolled back."""
    with connection.transaction(force_rollback=True):
        connection.execute(_queries.ask_only)
        # In binary, because that protocol takes one statement alone.
        row = connection.execute(statement, binary=True).fetchone()
    assert row is not None
    return row


def require_plain(connection: Connection, table: str) -> None:
    """Raise EH010 where reading what the caller calls so runs the code of somebody else."""
    name = sql.Identifier(*table.split(".")).as_string()
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(_queries.ask_only)
            connection.execute(_queries.require_plain_to_read, {"name": name})
    except psycopg.Error as error:
        if error.sqlstate == "EH010":
            raise  # of what is no name, the question itself says so


def _members(connection: Connection, cohort: OmopCohort) -> list[int]:
    wanted = definition_id(cohort.cohort_definition_id)
    if cohort.table is not None:
        require_plain(connection, cohort.table)
        return _selected(connection, _subjects(wanted, cohort.table))
    row = connection.execute(_queries.members, {"cohort_definition_id": wanted}).fetchone()
    assert row is not None
    return list(row[0])


def definition_id(value: int) -> int:
    """What the CDM can name a cohort by."""
    if not 0 <= index(value) < 2**31:
        raise ConfigError(f"{value} is no cohort_definition_id", hint="It is a whole number below 2147483648.")
    return index(value)


def _subjects(definition_id: int, table: str) -> sql.Composable:
    return sql.SQL("select subject_id from {} where cohort_definition_id = {}").format(
        sql.Identifier(*table.split(".")), sql.Literal(definition_id)
    )


def _whole(value: Any) -> int:
    """Whatever counts as an integer (numpy's too) but truth values, of which masks are made."""
    if isinstance(value, bool):
        raise TypeError
    return index(value)


def _listed(cohort: Any) -> list[int]:
    """Ids out of whatever holds them."""
    columns = [str(name) for name in getattr(cohort, "columns", ())]
    if columns:
        name = next((name for name in ("patient_id", "subject_id") if name in columns), None)
        if name is None:
            raise ConfigError(
                f"the cohort's frame has no column patient_id, but {', '.join(columns)}",
                hint="Rename the column that holds the ids: frame.rename({'id': 'patient_id'}).",
            )
        cohort = cohort[name]
    values: Iterable[Any] = [cohort] if hasattr(cohort, "__index__") and not hasattr(cohort, "__len__") else cohort
    ids = []
    for place, value in enumerate(values):
        try:
            ids.append(_whole(value))
        except TypeError:
            raise ConfigError(
                f"the cohort's value at position {place} is {type(value).__name__}, not a whole number",
                hint="patient_id is a bigint, as in ehr.patient; leave out what is missing.",
            ) from None
    return ids
