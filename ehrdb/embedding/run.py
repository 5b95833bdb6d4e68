"""One refresh: plan, embed what is queued, see to the index; leave a row that says how it went."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from ehrdb.database import Database, require_whole
from ehrdb.embedding import registry
from ehrdb.embedding.drain import Progress, RefreshResult, add_up, drain, worker_name
from ehrdb.embedding.engine import Engine
from ehrdb.embedding.index import ensure_index
from ehrdb.embedding.index_dates import IndexDates
from ehrdb.embedding.load import LoadEncoder
from ehrdb.embedding.queue import Queue
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.encoder import Encoder
from ehrdb.errors import NotAllowed
from ehrdb.patience import patiently
from ehrdb.queries import Queries

ROUNDS = 3
"""How often a refresh plans anew where records changed under it."""
_queries = Queries("ehrdb.embedding")


@dataclass(frozen=True)
class Snapshot:
    """A moment (finite, inclusive) at which the cohort's records (None: everybody's) are to be embedded too."""

    as_of: datetime
    cohort: Sequence[int] | None = None


def refresh(
    database: Database,
    encoder: RegisteredEncoder,
    load_encoder: Callable[[], Encoder],
    *,
    snapshot: Snapshot | None = None,
    index_dates: IndexDates | None = None,
    engine: Engine | None = None,
    progress: Progress = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
    only: Callable[[], Sequence[bytes]] | None = None,
) -> RefreshResult:
    """Bring the encoder's vectors up to date and see that the search index exists.

    The model is loaded only when there is something to embed. Interrupted at any moment, nothing is lost:
    stored batches stay, leased contents become free again. `should_stop` is asked after every batch. A `snapshot`
    and `index_dates` are embedded as well as what is current. An `engine` embeds in processes of its own (None: here).
    Faults of the database are waited for, up to two minutes. `only`, asked after each plan: the contents to embed now
    (None: all that are queued); the others stay queued.
    """
    result = plan(database, encoder, snapshot, index_dates)
    queue = Queue(database, encoder, worker_name())
    with _recorded(queue, result):
        for _ in range(ROUNDS):
            result.outdated = 0
            queue = replace(queue, only=only() if only else None)
            if queue.outlook().ready:
                _embed(queue, load_encoder, engine, result, progress, should_stop)
            if not result.outdated or should_stop():
                break
            plan(database, encoder, result=result)
        _concatenate_all(database)
        left = queue.outlook()
        result.leased, result.waiting, result.dead = left.leased, left.waiting, left.dead
    return result


def _embed(
    queue: Queue,
    load_encoder: Callable[[], Encoder],
    engine: Engine | None,
    result: RefreshResult,
    progress: Progress,
    should_stop: Callable[[], bool],
) -> None:
    """What is queued, then the index where there is none yet."""
    if engine:
        _drain_by(engine, queue.database, queue.encoder, result, progress)
    else:
        queue.outdated.clear()
        drain(queue, load_encoder, result=result, progress=progress, should_stop=should_stop)
    try:
        ensure_index(queue.database, queue.encoder)
    except NotAllowed:
        result.unindexed = 1


def _drain_by(
    engine: Engine, database: Database, encoder: RegisteredEncoder, result: RefreshResult, progress: Progress
) -> None:
    before = result.embedded, result.failed, result.tokens

    def counted(done: int, total: int) -> None:
        result.embedded = before[0] + done
        progress(done, total)

    done = engine.drain(database, encoder, counted)
    after = done.embedded, done.failed, done.tokens
    result.embedded, result.failed, result.tokens = map(sum, zip(before, after, strict=True))
    result.outdated = done.outdated


def refresh_all(
    database: Database,
    encoder: RegisteredEncoder,
    load_encoder: LoadEncoder,
    *,
    snapshot: Snapshot | None = None,
    index_dates: IndexDates | None = None,
    engine: Engine | None = None,
    progress: Progress = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RefreshResult:
    """Refresh whatever models fill this encoder: its own, the parts' of a concatenation, none for an import."""
    with database.transaction() as connection:
        models = registry.models(connection, encoder)
    results = [
        refresh(
            database,
            model,
            partial(load_encoder, model),
            snapshot=snapshot,
            index_dates=index_dates,
            engine=engine,
            progress=progress,
            should_stop=should_stop,
        )
        for model in models
    ]
    total = add_up(results)
    for name in ("patients", "moments", "without"):
        setattr(total, name, max((getattr(result, name) for result in results), default=0))
    return total


def plan(
    database: Database,
    encoder: RegisteredEncoder,
    snapshot: Snapshot | None = None,
    index_dates: IndexDates | None = None,
    *,
    result: RefreshResult | None = None,
) -> RefreshResult:
    """Compare texts with what was embedded, in steps: each that is done is kept, whatever becomes of the next."""
    result = result or RefreshResult()
    while not _plan_step(database, result):
        pass
    if snapshot:
        result.queued += _plan_snapshot(database, encoder, snapshot)
    for step in index_dates.steps() if index_dates else ():
        _plan_index_dates(database, encoder, step, result)
    return result


@patiently
def _plan_step(database: Database, result: RefreshResult) -> bool:
    """One step; whether it was the last. A site's statement_timeout does not apply: it takes what it takes."""
    with database.transaction() as connection:
        require_whole(connection)
        connection.execute(_queries.unhurried)
        row = connection.execute(_queries.plan).fetchone()
    assert row is not None
    patients, queued, is_done = row
    result.patients += patients
    result.queued += queued
    return bool(is_done)


@patiently
def _plan_snapshot(database: Database, encoder: RegisteredEncoder, snapshot: Snapshot) -> int:
    cohort = None if snapshot.cohort is None else list(snapshot.cohort)
    values = {"encoder_id": encoder.encoder_id, "as_of": snapshot.as_of, "cohort": cohort}
    with database.transaction() as connection:
        require_whole(connection)
        connection.execute(_queries.unhurried)
        row = connection.execute(_queries.plan_snapshot, values).fetchone()
    return int(row[0]) if row else 0


@patiently
def _plan_index_dates(database: Database, encoder: RegisteredEncoder, step: IndexDates, result: RefreshResult) -> None:
    values = {"encoder_id": encoder.encoder_id, "patient_ids": step.patient_ids, "as_ofs": step.as_ofs}
    with database.transaction() as connection:
        require_whole(connection)
        connection.execute(_queries.unhurried)
        row = connection.execute(_queries.plan_index_dates, values).fetchone()
    assert row is not None
    result.queued += row[0]
    result.without += row[1]
    result.moments += len(step)


@patiently
def _concatenate_all(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(_queries.unhurried)
        connection.execute(_queries.concatenate_all)


@contextmanager
def _recorded(queue: Queue, result: RefreshResult) -> Iterator[None]:
    """A row for this run: begun, and how it ended; one that never ended was killed."""
    started = time.monotonic()
    run_id = queue.start_run(result.queued)
    error: str | None = None
    try:
        yield
    except BaseException as failure:
        error = type(failure).__name__
        raise
    finally:
        result.seconds = time.monotonic() - started
        queue.finish_run(run_id, result.embedded, result.failed, result.tokens, result.seconds, error)
