"""The staged stream into ehrdb's tables: only what changed, all or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, NoReturn, Protocol

from psycopg.errors import LockNotAvailable

from ehrdb.database import Connection, Database, hold_patients, require_whole
from ehrdb.errors import DatabaseError, InputError
from ehrdb.events import changes
from ehrdb.events.units import describe_units
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events")
ALL_EVENTS = "all events"
NOT_READ = "not read"
UNREAD_PATIENTS = "patients whose rows are as before"
"""Of a load that had no need to read them: its report is about the others alone."""
Kind = Literal["table", "figures", "rules", "not read", "unread patients"]
"""What a row of the report is about: a source's table, figures of all events, events whose category a format's rules
know, what was not read of the source, patients who were not read."""


@dataclass
class TableReport:
    """What became of one source table's rows."""

    source_table: str
    rows_read: int = 0
    rows_loaded: int = 0
    rows_unmapped: int = 0
    rows_rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    kind: Kind = "table"


@dataclass(frozen=True)
class LoadOptions:
    """What a load may do, whatever it reads.

    Attributes:
        keep_missing: keep patients that the source no longer has.
        allow_missing: tables (or table.column) of the last load that may be gone.
        allow_return: take in patients who were purged.
        read_all: read patients whose rows are as at the last load, too.
    """

    keep_missing: bool = False
    allow_missing: tuple[str, ...] = ()
    allow_return: bool = False
    read_all: bool = False


@dataclass(frozen=True)
class Difference:
    """A figure of the report that is another than at the last load; 0 where there was none."""

    source_table: str
    figure: str
    before: int
    now: int


@dataclass
class LoadResult:
    """Patients new, changed, unchanged and removed, and what became of each table's rows.

    `concepts`: codes whose description or relations changed; `affected`: patients who have such codes, or other
    radiology findings, though their own events did not change. `left_out`: purged patients who did not return.
    `unread`: of the unchanged ones, whose rows are as before, so that they were not read; tables are then about others.
    `figures`: what the events are, by sections of which the first figure is the whole. `differences`: from the
    report of the source's last load.
    """

    source: str
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    concepts: int = 0
    affected: int = 0
    left_out: int = 0
    unread: int = 0
    tables: list[TableReport] = field(default_factory=list)
    figures: list[TableReport] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    @property
    def anything_changed(self) -> bool:
        """Whether this load wrote anything."""
        return bool(self.patients_changed or self.concepts or self.affected)

    @property
    def patients_changed(self) -> bool:
        """Whether this load wrote events."""
        return bool(self.new or self.changed or self.removed)


Key = Mapping[str, object]
"""What a load is known again by: its source, and a digest of files and settings, None where there is none."""
Stage = Callable[[Connection], Iterable[TableReport]]
"""Fills the staging tables and numbers the events; returns a report per source table."""


@dataclass(frozen=True)
class Portion:
    """Patients whose ids are `low` to `high`, both included. Rows of nobody go with the first."""

    low: int
    high: int
    is_first: bool


EVERYBODY = Portion(-(2**63), 2**63 - 1, is_first=True)


class ByPatients(Protocol):
    """A source of which some patients can be staged without the others.

    Attributes:
        digests_are_whole: patients' digests and rules stand for all that a load reads: every row, and what codes mean.
    """

    digests_are_whole: bool

    def bounds(self, connection: Connection, size: int) -> list[int]:
        """The patients' ids in order, every `size`-th of them."""

    def share(self, connection: Connection) -> tuple[bytes | None, list[TableReport]]:
        """Once a session: what all patients are read by. Its digest (None: patients have none), and reports."""

    def stage(self, connection: Connection, portion: Portion) -> Iterable[TableReport]:
        """Fill the staging tables with the portion's patients, those who changed; as a `Stage` does."""

    def describe(self, connection: Connection) -> Iterable[TableReport]:
        """Of the codes in event_staging, the concepts and relations; reports that are about no patients."""


class Run(Protocol):
    """What becomes of a source: `load` merges it, a `rehearsal` undoes that, `portioned` merges it in portions."""

    def __call__(
        self,
        database: Database,
        source: str,
        stage: Stage,
        options: LoadOptions,
        *,
        digest: Callable[[], bytes] | None = None,
        by_patients: ByPatients | None = None,
    ) -> LoadResult:
        """Run it; arguments as of `load`."""


def load(
    database: Database,
    source: str,
    stage: Stage,
    options: LoadOptions,
    *,
    digest: Callable[[], bytes] | None = None,
    by_patients: ByPatients | None = None,
) -> LoadResult:
    """Stage a source and merge it, in one transaction.

    `source` names where patients come from: a load replaces its own source's patients only. `digest` stands for
    files and settings (see `ehrdb.events.folder.digest_files`): those of the last load are not read again. Raises
    InputError for the first problem found; then the database is as before. DatabaseError where another load of this
    source runs, before anything is read.
    """

    def whole(connection: Connection, key: Key) -> LoadResult:
        codes_may_change = by_patients is not None and not by_patients.digests_are_whole
        return _load_anew(connection, key, stage, options, options.read_all, codes_may_change=codes_may_change)

    return once(database, source, digest, whole)


def once(
    database: Database,
    source: str,
    digest: Callable[[], bytes] | None,
    work: Callable[[Connection, Key], LoadResult],
) -> LoadResult:
    """What `work` makes of the source while nobody else loads it; where the last load was the same, what that made."""
    with _turn_to_load(database, source) as connection:
        key = _key(connection, source, digest)
        result = _same_again(connection, key) or work(connection, key)
        _keep_report(connection, result)
    if result.patients_changed:
        _vacuum(database, result.unread > 0)
    return result


@contextmanager
def _turn_to_load(database: Database, source: str) -> Iterator[Connection]:
    """A transaction during which nobody else loads the source."""
    with database.transaction() as connection:
        require_whole(connection)
        _know_source(connection, source)
    with database.transaction() as connection:
        _require_alone(connection, source)
        require_whole(connection)
        yield connection


def rehearsal(look: Callable[[Connection], None]) -> Run:
    """A load that is undone: all that a load reads, refuses and writes, then a look at it, and nothing remains."""

    def run(
        database: Database,
        source: str,
        stage: Stage,
        options: LoadOptions,
        *,
        digest: Callable[[], bytes] | None = None,
        by_patients: ByPatients | None = None,
    ) -> LoadResult:
        with database.transaction() as connection, connection.transaction(force_rollback=True):
            require_whole(connection)
            _know_source(connection, source)
            _require_alone(connection, source)
            result = _load_anew(connection, {"source": source, "digest": None}, stage, options, is_whole=True)
            look(connection)
        if result.patients_changed:
            _vacuum(database, is_partial=False)  # what was undone still takes room
        return result

    return run


def _load_anew(
    connection: Connection,
    key: Key,
    stage: Stage,
    options: LoadOptions,
    is_whole: bool,
    *,
    codes_may_change: bool = False,
) -> LoadResult:
    """`codes_may_change`: though nobody did."""
    source = str(key["source"])
    before = last_result(connection, source)
    begin(connection, source, is_whole)
    tables = list(stage(connection))
    refuse_gone_tables(connection, source, options)
    unread = changes.count_unread(connection)
    if unread and not (changes.someone_to_read(connection) or codes_may_change):
        result = replace(before, unchanged=unread, unread=unread)
    else:
        result = _merge(connection, LoadResult(source, tables=tables, unread=unread), options)
        result.differences = [] if unread else differences(before, result)
    connection.execute(_queries.remember, key)
    changes.remember_patients(connection)
    return result


def begin(
    connection: Connection,
    source: str,
    is_whole: bool,
    portion: Portion | None = None,
    began: datetime | None = None,
) -> None:
    """Tables to stage in, until the transaction ends; with which the load `began`, unless it did before."""
    connection.execute(_queries.roomy)
    connection.execute(_queries.staging)
    place = {"low": portion and portion.low, "high": portion and portion.high}
    connection.execute(_queries.this_load, {"source": source, "is_whole": is_whole, "began": began, **place})


def moment(connection: Connection) -> datetime:
    """When this transaction began."""
    row = connection.execute(_queries.moment).fetchone()
    assert row is not None
    found: datetime = row[0]
    return found


def found_table(connection: Connection, name: str, columns: Iterable[str]) -> None:
    """Remember that the source has this table, and these columns of it: the next load must find them too."""
    connection.execute(_queries.found_table, {"table": name, "columns": sorted(columns)})


def refuse_gone_tables(connection: Connection, source: str, options: LoadOptions) -> None:
    """What was there at the last load and is gone would take its events along."""
    gone = connection.execute(
        _queries.gone_tables, {"source": source, "allowed": list(options.allow_missing)}
    ).fetchall()
    if gone:
        names = ", ".join(name for (name,) in gone)
        raise InputError(
            f"the last load of {source} had {names}; this one has not",
            hint=f"Nothing was changed. Where that is right, add --allow-missing {gone[0][0]}.",
        )


def number_events(connection: Connection) -> None:
    """The rows of event_staging as event_numbered, which is merged: each patient's in order."""
    connection.execute(_queries.number_events)


def report_unread(names: Iterable[str]) -> Iterator[TableReport]:
    """What stands in a folder or schema and was not read."""
    reasons = dict.fromkeys(names, 1)
    if reasons:
        yield TableReport(NOT_READ, reasons=reasons, kind="not read")


def check_problems(connection: Connection, hint: str = "Correct the file; nothing was written.") -> None:
    """Raise the first recorded problem as an InputError that counts all."""
    row = connection.execute(_queries.first_problem).fetchone()
    if row is None:
        return
    file, line, column, problem, count = row
    more = f" ({count} problems in all)" if count > 1 else ""
    raise InputError(problem + more, file=file, row=line, column=column, hint=hint)


def _know_source(connection: Connection, source: str) -> None:
    """Where a rehearsal's row, which it never commits, would keep this one waiting, the rehearsal is named instead."""
    try:
        with connection.transaction():
            connection.execute(_queries.wait_briefly)
            connection.execute(_queries.know_source, {"source": source})
            connection.execute(_queries.wait_as_ever)
    except LockNotAvailable:
        raise _taken(connection, source) from None


def _require_alone(connection: Connection, source: str) -> None:
    """One load of a source at a time, until this transaction ends; the second would lose all its work at the end."""
    if connection.execute(_queries.try_lock_source, {"source": source}).fetchone() != (True,):
        raise _taken(connection, source)


def _taken(connection: Connection, source: str) -> DatabaseError:
    row = connection.execute(_queries.who_loads, {"source": source}).fetchone()
    who = f" by {row[0]}, process {row[1]}" if row else ""
    who += f", since {row[2]}" if row and row[2] else ""  # hidden from other roles
    return DatabaseError(
        f"source {source!r} is being loaded already{who}",
        hint="Wait for it; or end it: select pg_terminate_backend(PROCESS); nothing of it is kept then.",
    )


def _key(connection: Connection, source: str, digest: Callable[[], bytes] | None) -> Key:
    row = connection.execute(_queries.whole_digest, {"digest": digest() if digest else None}).fetchone()
    return {"source": source, "digest": row[0] if row else None}


def _same_again(connection: Connection, key: Key) -> LoadResult | None:
    """The result where the last load was the same; else None."""
    row = connection.execute(_queries.same_again, key).fetchone()
    if row is None:
        return None
    result = last_result(connection, str(key["source"]))
    result.unchanged = row[0]
    return result


def last_result(connection: Connection, source: str) -> LoadResult:
    """The stored report of the source's last load."""
    reports = [TableReport(*row) for row in connection.execute(_queries.last_reports, {"source": source})]
    figures = [report for report in reports if report.kind == "figures"]
    return LoadResult(source, tables=[report for report in reports if report not in figures], figures=figures)


def _figures(connection: Connection) -> list[TableReport]:
    sections: dict[str, TableReport] = {}
    for section, figure, count in connection.execute(_queries.figures):
        report = sections.setdefault(section, TableReport(section, count, count, kind="figures"))
        report.reasons[figure] = count
    return list(sections.values())


def differences(before: LoadResult, now: LoadResult) -> list[Difference]:
    """Figures that are others than before; none where there was no load before."""
    if not before.tables:
        return []
    old, new = _counts(before), _counts(now)
    return [
        Difference(*name[1:], old.get(name, 0), new.get(name, 0))
        for name in dict.fromkeys([*new, *old])
        if old.get(name, 0) != new.get(name, 0)
    ]


def _counts(result: LoadResult) -> dict[tuple[str, str, str], int]:
    counts: dict[tuple[str, str, str], int] = {}
    for report in [*result.tables, *result.figures]:
        if report.kind != "figures":
            for word in ("read", "loaded", "unmapped", "rejected"):
                counts[report.kind, report.source_table, word] = getattr(report, f"rows_{word}")
        counts |= {(report.kind, report.source_table, figure): count for figure, count in report.reasons.items()}
    return counts


def _add_remarks(connection: Connection, tables: list[TableReport]) -> None:
    reports = {table.source_table: table for table in tables if table.kind == "table"}
    for table, remark, rows in connection.execute(_queries.remarks):
        reports[table].reasons[remark] = rows


def _oddities(connection: Connection) -> TableReport:
    """All events of the load, and how many stand where one would not expect them; they are loaded all the same."""
    row = connection.execute(_queries.oddities).fetchone()
    assert row is not None
    names = ("before birth", "after death", "in the future", "in a unit that UCUM does not know")
    return TableReport(
        ALL_EVENTS, row[0], row[0], reasons={name: count for name, count in zip(names, row[1:], strict=True) if count}
    )


def _merge(connection: Connection, result: LoadResult, options: LoadOptions) -> LoadResult:
    count_by_code(connection, result, options)
    if connection.execute(_queries.any_incoming).fetchone() is None:
        refuse_nothing(result.source)
    compare(connection, result, options)
    share(connection, result, is_first=not (result.changed or result.unchanged))
    if result.patients_changed:
        connection.execute(_queries.drop_indexes)
        write_patients(connection, result)
        connection.execute(_queries.build_indexes)
    connection.execute(_queries.change_reports)
    result.affected += _count(connection, _queries.count_reports)
    return result


def count_by_code(connection: Connection, result: LoadResult, options: LoadOptions) -> None:
    """What the staged events are, without those who were purged; refuses patients of another source."""
    hold_patients(connection)
    result.left_out = _leave_purged_out(connection, options)
    connection.execute("analyze pg_temp.event_numbered")
    connection.execute(_queries.code_figures)
    _add_remarks(connection, result.tables)
    _refuse_foreign_patients(connection, result.source)


def compare(connection: Connection, result: LoadResult, options: LoadOptions) -> None:
    """Who is new, changed, unchanged or gone. Those go, with the events of those who changed."""
    connection.execute(_queries.compare, {"source": result.source})
    connection.execute(_queries.index_changes)
    if options.keep_missing:
        connection.execute(_queries.keep_missing)
    for change, count in connection.execute(_queries.count_changes):
        setattr(result, change, count)
    result.unchanged += result.unread
    connection.execute(_queries.purge_removed)


def share(connection: Connection, result: LoadResult, *, is_first: bool) -> None:
    """Codes, units and relations, which all patients share; and what the events are by them."""
    connection.execute(_queries.add_concepts)
    describe_units(connection)
    result.tables.append(_oddities(connection))
    concepts, result.affected = _change_concepts(connection)
    result.concepts = 0 if is_first else concepts  # at first all is new
    result.tables += _placed(connection) if not result.unread else []
    result.figures = _figures(connection)


def write_patients(connection: Connection, result: LoadResult) -> None:
    """Those who are new or changed, and their events."""
    # Before their events: a source's figures count events by whose they are.
    connection.execute(_queries.upsert_patients, {"source": result.source})
    connection.execute(_queries.insert_events)
    connection.execute(_queries.mark_loaded)


def _placed(connection: Connection) -> list[TableReport]:
    found = connection.execute(_queries.placed)
    return [TableReport(f"format rules: {rules}", of, placed, kind="rules") for rules, of, placed in found]


def _leave_purged_out(connection: Connection, options: LoadOptions) -> int:
    if options.allow_return:
        connection.execute(_queries.let_return)
    left_out = connection.execute(_queries.leave_purged_out).rowcount
    if left_out:
        connection.execute(_queries.leave_their_events_out)
    return left_out


def _change_concepts(connection: Connection) -> tuple[int, int]:
    connection.execute(_queries.change_concepts)
    connection.execute(_queries.change_relations)
    row = connection.execute(_queries.mark_described).fetchone()
    assert row is not None
    return row[0], row[1]


def _count(connection: Connection, query: bytes) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def refuse_nothing(source: str) -> NoReturn:
    """An empty source is a mistake more often than a hospital without patients."""
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


def _keep_report(connection: Connection, result: LoadResult) -> None:
    """The load's rows of ehr.load_report."""
    row = connection.execute(_queries.next_load).fetchone()
    unread = TableReport(UNREAD_PATIENTS, rows_loaded=result.unread, kind="unread patients")
    for table in [*([unread] if result.unread else []), *result.tables, *result.figures]:
        values = {**vars(table), "reasons": json.dumps(table.reasons), "source": result.source}
        connection.execute(_queries.report, {**values, "load_id": row[0] if row else 1})


def _vacuum(database: Database, is_partial: bool) -> None:
    """Timelines read the index alone only where the visibility map is current; few changes leave statistics true."""
    with database.session() as connection:
        connection.execute("vacuum ehrdb.event" if is_partial else "vacuum (analyze) ehrdb.event")
        if not is_partial:
            connection.execute("analyze ehrdb.concept")
