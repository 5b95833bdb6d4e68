"""A load in portions of patients, each atomic: in bounded room, side by side, and resumed where it was killed.

Three rounds. Every portion is read and checked, and that is undone: nothing was written when a fault is found. Then
what all patients share is written (codes, units, relations), and last each portion.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from queue import SimpleQueue
from typing import IO, TypeVar

from ehrdb.database import Connection, Database, is_pooled, require_whole
from ehrdb.errors import ConfigError, InputError
from ehrdb.events import changes, merge
from ehrdb.events.merge import EVERYBODY, ByPatients, Key, LoadOptions, LoadResult, Portion, Run, Stage, TableReport
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events")
PATIENTS = 50_000
_MEMORY = 1 << 26
Item = TypeVar("Item")
Result = TypeVar("Result")


def portioned(workers: int, size: int = PATIENTS) -> Run:
    """A load of `size` patients at a time, so many portions side by side, each in a session of its own.

    What was loaded when it fails or is killed stays, and the next load goes on from there.
    """

    def run(
        database: Database,
        source: str,
        stage: Stage,  # of the whole
        options: LoadOptions,
        *,
        digest: Callable[[], bytes] | None = None,
        by_patients: ByPatients | None = None,
    ) -> LoadResult:
        if by_patients is None:
            raise ConfigError(
                "only OMOP and MEDS are loaded in portions",
                hint="Without --workers and --portion all is one transaction.",
            )

        def in_portions(turn: Connection, key: Key) -> LoadResult:
            turn.execute(_queries.stay_idle)
            with _sessions(database, workers) as team:
                load = _Load(by_patients, source, options, merge.last_result(turn, source), merge.moment(turn))
                result, looks = load.run(team, size)
            _remember(turn, key, looks)
            return result

        return merge.once(database, source, digest, in_portions)

    return run


@dataclass(frozen=True)
class _Look:
    """What a portion holds. `tables_found`: of the source, with their columns; `unread`: patients as before.

    `digest`: of the rows that were read, whatever became of them.
    """

    portion: Portion
    digest: bytes
    tables: list[TableReport]
    tables_found: list[tuple[str, list[str]]]
    code_figures: bytes
    left_out: int
    unread: int
    is_to_load: bool


@dataclass
class _Looks:
    """What all portions hold, and the rules that they were read by."""

    rules: bytes | None
    of_portions: list[_Look]

    @property
    def unread(self) -> int:
        return sum(look.unread for look in self.of_portions)

    def say(self, connection: Connection) -> None:
        """To a transaction that has begun to load: whose tables these are, and the rules."""
        for name, columns in self.of_portions[0].tables_found:
            merge.found_table(connection, name, columns)
        connection.execute(_queries.as_looked, {"rules": self.rules, "is_partial": self.unread > 0})


@dataclass(frozen=True)
class _Load:
    """A source's load. `before`: the report of its last one; `began`: who is purged later does not return."""

    by_patients: ByPatients
    source: str
    options: LoadOptions
    before: LoadResult
    began: datetime

    def run(self, team: _Team, size: int) -> tuple[LoadResult, _Looks]:
        """All rounds."""
        portions = self._portions(team, size)
        rules, reports = self._agreed(team.everyone(self._ready))
        with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as figures:
            looks = _Looks(rules, [])
            for look in team.each(self._look, portions):
                figures.write(look.code_figures)
                looks.of_portions.append(replace(look, code_figures=b""))
            to_load = [look for look in looks.of_portions if look.is_to_load]
            if not to_load and self.by_patients.digests_are_whole:
                return replace(self.before, unchanged=looks.unread, unread=looks.unread), looks
            result = self._share(team.first, looks, reports, figures)
        for part in team.each(self._write, to_load):
            for name in ("new", "changed", "unchanged", "removed"):
                setattr(result, name, getattr(result, name) + getattr(part, name))
        result.unchanged += sum(look.unread for look in looks.of_portions if not look.is_to_load)
        result.differences = [] if result.unread else merge.differences(self.before, result)
        return result, looks

    def _portions(self, team: _Team, size: int) -> list[Portion]:
        with team.first.transaction(force_rollback=True):
            bounds = self.by_patients.bounds(team.first, size)
        if not bounds:
            merge.refuse_nothing(self.source)
        lows = [EVERYBODY.low, *bounds[1:]]
        highs = [*(low - 1 for low in bounds[1:]), EVERYBODY.high]
        return [Portion(low, high, low == EVERYBODY.low) for low, high in zip(lows, highs, strict=True)]

    def _ready(self, connection: Connection) -> tuple[bytes | None, list[TableReport]]:
        with connection.transaction():
            merge.begin(connection, self.source, is_whole=True)
            return self.by_patients.share(connection)

    def _agreed(self, shared: list[tuple[bytes | None, list[TableReport]]]) -> tuple[bytes | None, list[TableReport]]:
        """What every session has read."""
        if len({rules for rules, _ in shared}) > 1:
            raise self._changed()
        return shared[0]

    def _changed(self) -> InputError:
        return InputError(
            f"source {self.source} changed while it was loaded",
            hint="Load it again: patients who were loaded are not read again.",
        )

    def _look(self, connection: Connection, portion: Portion) -> _Look:
        """Read it, refuse what a load refuses, and undo that."""
        with connection.transaction(force_rollback=True):
            result, digest = self._stage(connection, portion)
            is_to_load = _has_someone(connection)
            figures = b""
            if is_to_load:
                merge.count_by_code(connection, result, self.options)
                with connection.cursor().copy(_queries.code_figures_of_a_portion) as copy:
                    figures = b"".join(copy)
            found = connection.execute(_queries.tables_found).fetchall()
            left_out, unread = result.left_out, result.unread
            return _Look(portion, digest, result.tables, found, figures, left_out, unread, is_to_load)

    def _share(
        self, connection: Connection, looks: _Looks, reports: list[TableReport], figures: IO[bytes]
    ) -> LoadResult:
        with connection.transaction():
            require_whole(connection)
            merge.begin(connection, self.source, is_whole=True)
            looks.say(connection)
            merge.refuse_gone_tables(connection, self.source, self.options)
            _copy_figures(connection, figures)
            connection.execute(_queries.stand_for_events)
            of_portions = [look.tables for look in looks.of_portions if look.is_to_load]
            tables = [*_together(of_portions), *reports, *self.by_patients.describe(connection)]
            left_out = sum(look.left_out for look in looks.of_portions)
            result = LoadResult(self.source, tables=tables, unread=looks.unread, left_out=left_out)
            connection.execute(_queries.forget_digests)
            merge.share(connection, result, is_first=not self.before.tables)
            connection.execute(_queries.remember, {"source": self.source, "digest": None})
            return result

    def _write(self, connection: Connection, look: _Look) -> LoadResult:
        """The portion, if it still is what was looked at."""
        with connection.transaction():
            result, digest = self._stage(connection, look.portion)
            if digest != look.digest:
                raise self._changed()
            if not _has_someone(connection):
                return replace(result, unchanged=result.unread)
            merge.count_by_code(connection, result, self.options)
            if connection.execute(_queries.unknown_code).fetchone() is not None:
                raise self._changed()
            merge.compare(connection, result, self.options)
            if result.patients_changed:
                merge.write_patients(connection, result)
            changes.remember_patients(connection)
            return result

    def _stage(self, connection: Connection, portion: Portion) -> tuple[LoadResult, bytes]:
        require_whole(connection)
        merge.begin(connection, self.source, self.options.read_all, portion, self.began)
        result = LoadResult(self.source)
        result.tables = list(self.by_patients.stage(connection, portion))
        result.unread = changes.count_unread(connection)
        with_rows = not self.by_patients.digests_are_whole
        return result, changes.digest_of_portion(connection, with_rows=with_rows)


class _Team:
    """Sessions that work side by side, each on a portion at a time."""

    def __init__(self, sessions: Sequence[Connection], pool: ThreadPoolExecutor) -> None:
        self._sessions, self._pool = sessions, pool
        self._free: SimpleQueue[Connection] = SimpleQueue()
        for session in sessions:
            self._free.put(session)

    @property
    def first(self) -> Connection:
        return self._sessions[0]

    def everyone(self, work: Callable[[Connection], Result]) -> list[Result]:
        """What each session makes of it. The first that fails ends the others."""
        return list(self._as_done([self._pool.submit(work, session) for session in self._sessions]))

    def each(self, work: Callable[[Connection, Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """What becomes of each item, as they are done. The first that fails ends the others."""

        def with_a_session(item: Item) -> Result:
            session = self._free.get()
            try:
                return work(session, item)
            finally:
                self._free.put(session)

        yield from self._as_done([self._pool.submit(with_a_session, item) for item in items])

    def _as_done(self, futures: list[Future[Result]]) -> Iterator[Result]:
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            while wait(futures, timeout=0).not_done:  # who is between two statements is not met by the first try
                for session in self._sessions:
                    session.cancel_safe()
                wait(futures, timeout=1)
            raise


@contextmanager
def _sessions(database: Database, workers: int) -> Iterator[_Team]:
    with ExitStack() as stack:
        sessions = [stack.enter_context(database.session()) for _ in range(workers)]
        if is_pooled(sessions[0]):
            raise ConfigError("behind a pooler nothing is loaded in portions", hint="Connect to PostgreSQL itself.")
        yield _Team(sessions, stack.enter_context(ThreadPoolExecutor(workers)))


def _has_someone(connection: Connection) -> bool:
    """Whether anybody is to be read."""
    return not changes.is_partial(connection) or changes.someone_to_read(connection)


def _remember(connection: Connection, key: Key, looks: _Looks) -> None:
    merge.begin(connection, str(key["source"]), is_whole=True)
    looks.say(connection)
    connection.execute(_queries.remember, key)


def _copy_figures(connection: Connection, figures: IO[bytes]) -> None:
    connection.execute(_queries.code_figures_of_all)
    figures.seek(0)
    with connection.cursor().copy(_queries.copy_code_figures) as copy:
        while chunk := figures.read(1 << 20):
            copy.write(chunk)


def _together(portions: Sequence[Sequence[TableReport]]) -> list[TableReport]:
    """Reports of portions as one; a remark without a count holds where it does of every portion."""
    found: dict[str, list[TableReport]] = {}
    for report in (report for reports in portions for report in reports):
        found.setdefault(report.source_table, []).append(report)
    return [_sum(reports, len(portions)) for _, reports in sorted(found.items())]


def _sum(reports: Sequence[TableReport], portions: int) -> TableReport:
    total = TableReport(reports[0].source_table, kind=reports[0].kind)
    times: dict[str, int] = {}
    for report in reports:
        for name in ("rows_read", "rows_loaded", "rows_unmapped", "rows_rejected"):
            setattr(total, name, getattr(total, name) + getattr(report, name))
        for reason, count in report.reasons.items():
            total.reasons[reason] = total.reasons.get(reason, 0) + count
            times[reason] = times.get(reason, 0) + 1
    total.reasons = {name: count for name, count in total.reasons.items() if count or times[name] == portions}
    return total
