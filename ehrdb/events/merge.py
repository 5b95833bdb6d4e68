"""The staged stream into ehrdb's tables: only what changed, all or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ehrdb.database import Connection, Database, require_whole
from ehrdb.errors import InputError
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events")
ALL_EVENTS = "all events"


@dataclass
class TableReport:
    """What became of one source table's rows."""

    source_table: str
    rows_read: int = 0
    rows_loaded: int = 0
    rows_unmapped: int = 0
    rows_rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass
class LoadResult:
    """Patients new, changed, unchanged and removed, and what became of each table's rows."""

    source: str
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    tables: list[TableReport] = field(default_factory=list)

    @property
    def anything_changed(self) -> bool:
        """Whether this load wrote anything."""
        return bool(self.new or self.changed or self.removed)


Stage = Callable[[Connection], Iterable[TableReport]]
"""Fills the staging tables and numbers the events; returns a report per source table."""


def load(
    database: Database,
    source: str,
    stage: Stage,
    *,
    digest: bytes | None = None,
    keep_missing: bool = False,
) -> LoadResult:
    """Stage a source and merge it, in one transaction.

    `source` names where patients come from: a load replaces its own source's patients only. `digest` stands for
    files and settings (see `ehrdb.events.files.digest_files`): those of the last load are not read again. Raises
    InputError for the first problem found; then the database is as before.
    """
    with database.transaction() as connection:
        require_whole(connection)
        key = {"source": source, "digest": _whole_digest(connection, digest)}
        result = _same_again(connection, key)
        if result is None:
            connection.execute(_queries.roomy)
            connection.execute(_queries.staging)
            tables = list(stage(connection))
            connection.execute("analyze pg_temp.event_numbered")
            tables.append(_oddities(connection))
            result = _merge(connection, LoadResult(source, tables=tables), keep_missing)
            connection.execute(_queries.remember, key)
        _report(connection, result)
    if result.anything_changed:
        _vacuum(database)
    return result


def number_events(connection: Connection) -> None:
    """The rows of event_staging as event_numbered, which is merged: each patient's in order."""
    connection.execute(_queries.number_events)


def check_problems(connection: Connection, hint: str = "Correct the file; nothing was written.") -> None:
    """Raise the first recorded problem as an InputError that counts all."""
    row = connection.execute(_queries.first_problem).fetchone()
    if row is None:
        return
    file, line, column, problem, count = row
    more = f" ({count} problems in all)" if count > 1 else ""
    raise InputError(problem + more, file=file, row=line, column=column, hint=hint)


def _whole_digest(connection: Connection, digest: bytes | None) -> bytes | None:
    row = connection.execute(_queries.whole_digest, {"digest": digest}).fetchone()
    return row[0] if row else None


def _same_again(connection: Connection, key: Mapping[str, object]) -> LoadResult | None:
    row = connection.execute(_queries.same_again, key).fetchone()
    if row is None:
        return None
    tables = [TableReport(*report) for report in connection.execute(_queries.last_reports, key)]
    return LoadResult(str(key["source"]), unchanged=row[0], tables=tables)


def _oddities(connection: Connection) -> TableReport:
    """All events of the load, and how many stand where one would not expect them; they are loaded all the same."""
    row = connection.execute(_queries.oddities).fetchone()
    assert row is not None
    names = ("before birth", "after death", "in the future")
    return TableReport(
        ALL_EVENTS, row[0], row[0], reasons={name: count for name, count in zip(names, row[1:], strict=True) if count}
    )


def _merge(connection: Connection, result: LoadResult, keep_missing: bool) -> LoadResult:
    source = {"source": result.source}
    connection.execute(_queries.compare, source)
    _refuse_nothing(connection, result.source)
    connection.execute(_queries.index_changes)
    _refuse_foreign_patients(connection, result.source)
    if keep_missing:
        connection.execute(_queries.keep_missing)
    for change, count in connection.execute(_queries.count_changes):
        setattr(result, change, count)
    connection.execute(_queries.purge_removed)
    connection.execute(_queries.add_concepts)
    connection.execute(_queries.mark_described)
    if result.anything_changed:
        connection.execute(_queries.drop_indexes)
        connection.execute(_queries.insert_events)
        connection.execute(_queries.build_indexes)
        connection.execute(_queries.upsert_patients, source)
        connection.execute(_queries.mark_loaded)
    connection.execute(_queries.upsert_reports)
    return result


def _refuse_nothing(connection: Connection, source: str) -> None:
    """An empty source is a mistake more often than a hospital without patients."""
    if connection.execute(_queries.any_incoming).fetchone() is None:
        raise InputError(
            "the source holds no patients",
            hint=f"Nothing was changed. To remove what {source} loaded, purge its patients.",
        )


def _refuse_foreign_patients(connection: Connection, source: str) -> None:
    row = connection.execute(_queries.foreign_patient, {"source": source}).fetchone()
    if row:
        raise InputError(
            f"patient {row[0]} already belongs to source {row[1]!r} ({row[2]} such patients)",
            hint=f"Load under that name with --source {row[1]} to replace it, or use another database.",
        )


def _report(connection: Connection, result: LoadResult) -> None:
    row = connection.execute(_queries.next_load).fetchone()
    for table in result.tables:
        values = {**vars(table), "reasons": json.dumps(table.reasons), "source": result.source}
        connection.execute(_queries.report, {**values, "load_id": row[0] if row else 1})


def _vacuum(database: Database) -> None:
    """Timelines read the index alone only where the visibility map is current."""
    with database.session() as connection:
        connection.execute("vacuum (analyze) ehrdb.event")
        connection.execute("analyze ehrdb.concept")
