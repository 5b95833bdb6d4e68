"""Index dates: patients, each as of a moment of his own, as people have them (a query, a table, a file, a cohort)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from ehrdb.cohorts import OmopCohort, ask, definition_id, if_named, record, require_plain
from ehrdb.database import Connection
from ehrdb.errors import ConfigError, InputError
from ehrdb.events.files import copy_table, name_files
from ehrdb.events.folder import Part
from ehrdb.events.merge import check_problems
from ehrdb.queries import Queries

PATIENT = ("patient_id", "subject_id", "person_id")
MOMENT = ("as_of", "prediction_time", "index_date", "cohort_start_date")
PORTION = 5_000
_queries = Queries("ehrdb.embedding", "index_dates.sql")
_TABLE = re.compile(r'(?:\w+|"[^"]+")(?:\.(?:\w+|"[^"]+")){0,2}')
_FILE = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
_EXAMPLE = 'For example: "select subject_id, cohort_start_date from results.cohort where cohort_definition_id = 7".'


@dataclass(frozen=True)
class IndexDates:
    """patient_ids[i] as of as_ofs[i], which is finite and inclusive."""

    patient_ids: list[int]
    as_ofs: list[datetime]

    def __len__(self) -> int:
        return len(self.patient_ids)

    def steps(self) -> Iterator[IndexDates]:
        """The same, some thousands at a time."""
        for start in range(0, len(self), PORTION):
            part = slice(start, start + PORTION)
            yield IndexDates(self.patient_ids[part], self.as_ofs[part])


def resolve(connection: Connection, at: Any) -> IndexDates:
    """The pairs that `at` holds; their number is in the audit.

    at: a query or a table of patients and moments; a file (CSV, parquet), labels too; an OMOP cohort or its id as text
    (each member at the end of the day of entry); a frame; or pairs. Columns of tables, files and frames are found by
    name (`PATIENT`, `MOMENT`), those of a query are its first two. A day is its first moment: of the day itself
    nothing is known. Raises ConfigError, or InputError of a file, for what holds no pairs.
    """
    if isinstance(at, IndexDates):
        return at
    at = if_named(at)
    if isinstance(at, OmopCohort):
        found = _selected(connection, _entries(connection, at))
    elif isinstance(at, Path) or (isinstance(at, str) and at.lower().endswith(_FILE)):
        found = _read(connection, Path(at))
    elif isinstance(at, str):
        found = _selected(connection, _of_table(connection, at) if _TABLE.fullmatch(at) else sql.SQL(at))
    else:
        found = listed(at)
    if not len(found):
        raise ConfigError("there are no index dates: nobody is selected", hint=_EXAMPLE)
    record(connection, "index dates", cohort_size=len(found))
    return found


def _selected(connection: Connection, query: sql.Composable) -> IndexDates:
    try:
        row = ask(connection, sql.SQL(_queries.read_pairs.decode()).format(query=query))
    except psycopg.Error as error:
        raise ConfigError(
            f"this is no query of patient ids and moments ({type(error).__name__})", hint=_EXAMPLE
        ) from None
    patient_ids, as_ofs, incomplete, has_zone = row
    if has_zone:
        raise ConfigError(
            "the query's moments have a time zone; records have local times",
            hint="Say which: select patient_id, moment at time zone 'Europe/Berlin' from ...",
        )
    if incomplete:
        raise ConfigError(
            f"{incomplete} rows have no patient, no moment, or one that no record has",
            hint="Leave them out: ... where cohort_start_date is not null.",
        )
    return IndexDates(patient_ids or [], as_ofs or [])


def _entries(connection: Connection, cohort: OmopCohort) -> sql.Composable:
    wanted = definition_id(cohort.cohort_definition_id)
    if cohort.table is not None:
        require_plain(connection, cohort.table)
        entries = sql.SQL(_queries.entries_of_table.decode())
        table = sql.Identifier(*cohort.table.split("."))
        return entries.format(table=table, cohort_definition_id=sql.Literal(wanted))
    # Asked first by itself: its errors say what is wrong with the cohort.
    connection.execute(_queries.cohort_moments, {"cohort_definition_id": wanted})
    entries = sql.SQL(_queries.entries_of_cohort.decode())
    return entries.format(cohort_definition_id=sql.Literal(wanted))


def _of_table(connection: Connection, name: str) -> sql.Composable:
    """A query of a table or view, its columns found by their names."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(_queries.own_names)
            row = connection.execute(_queries.table_columns, {"name": name}).fetchone()
    except psycopg.Error:
        row = None
    if row is None or row[0] is None:
        raise ConfigError(f"there is no table {name[:200]}", hint=_EXAMPLE)
    schema, table, columns = row
    require_plain(connection, f"{schema}.{table}")
    wanted = (_column(columns, names, f"table {table}") for names in (PATIENT, MOMENT))
    return sql.SQL("select {}, {} from {}").format(*map(sql.Identifier, wanted), sql.Identifier(schema, table))


def _column(columns: Iterable[str], wanted: tuple[str, ...], where: str) -> str:
    """The first of these names that is there."""
    found = next((name for name in wanted if name in set(columns)), None)
    if found is None:
        raise ConfigError(f"{where} has none of the columns {', '.join(wanted)}", hint=f"Or give a query. {_EXAMPLE}")
    return found


def _read(connection: Connection, file: Path) -> IndexDates:
    """A file's rows, checked; labels are such files."""
    if not file.is_file():
        raise InputError("no such file", file=file, hint=_EXAMPLE)
    copy_table(connection, [Part(file)], "index_date")
    columns = [name for (name,) in connection.execute(_queries.file_columns)]
    patient, moment = _column(columns, PATIENT, str(file)), _column(columns, MOMENT, str(file))
    connection.execute(_queries.stage_file, {"patient": patient, "moment": moment})
    connection.execute(_queries.problem_table)
    connection.execute(_queries.check_file, {"patient": patient, "moment": moment})
    name_files(connection, "index_date", [str(file)])
    check_problems(connection)
    row = connection.execute(_queries.file_pairs).fetchone()
    connection.execute(_queries.drop_staging)
    assert row is not None
    return IndexDates(row[0] or [], row[1] or [])


def listed(at: Any) -> IndexDates:
    """Pairs out of a frame, or of whatever holds tuples of patient and moment."""
    columns = [str(name) for name in getattr(at, "columns", ())]
    if columns:
        at = zip(at[_column(columns, PATIENT, "the frame")], at[_column(columns, MOMENT, "the frame")], strict=True)
    patient_ids, as_ofs = [], []
    try:
        for place, (patient, moment) in enumerate(at):
            patient_ids.append(int(patient))
            as_ofs.append(_local(moment, place))
    except (TypeError, ValueError):
        raise ConfigError(
            "these are no pairs of a patient and a moment", hint='For example: [(1, "2020-06-30 23:59")].'
        ) from None
    return IndexDates(patient_ids, as_ofs)


def _local(moment: Any, place: int) -> datetime:
    """A moment as the database takes it. Raises ValueError for what is none, ConfigError for one with a zone."""
    if hasattr(moment, "to_pydatetime"):
        moment = moment.to_pydatetime()
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    if isinstance(found, date) and not isinstance(found, datetime):
        found = datetime.combine(found, time())
    if not isinstance(found, datetime) or found != found:
        raise ValueError
    if found.tzinfo is not None:
        raise ConfigError(
            f"the moment at position {place} has a time zone; records have local times",
            hint="moment.replace(tzinfo=None)",
        )
    return found
