"""One refresh: plan, then claim, embed and store until nothing is left to claim."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial

from ehrdb.database import Connection, Database
from ehrdb.encoder import Encoder, registry
from ehrdb.encoder.registry import RegisteredEncoder
from ehrdb.queries import Queries
from ehrdb.refresh.embed import Failure, embed
from ehrdb.refresh.index import ensure_index
from ehrdb.refresh.queue import Queue

_queries = Queries("ehrdb.refresh")
JOBS_PER_CLAIM = 64

Progress = Callable[[int, int], None]
"""Called with contents done and contents known to be to do."""


@dataclass(frozen=True)
class Snapshot:
    """A moment (finite, inclusive) at which the cohort's records (None: everybody's) are to be embedded too."""

    as_of: datetime
    cohort: Sequence[int] | None = None


@dataclass
class RefreshResult:
    """What a refresh did. `leased` and `dead`: contents that others hold, and that were given up."""

    patients: int = 0
    queued: int = 0
    embedded: int = 0
    failed: int = 0
    tokens: int = 0
    seconds: float = 0.0
    leased: int = 0
    waiting: int = 0
    dead: int = 0

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed, 2 nothing could be embedded, 3 another refresh holds what is left."""
        if self.failed:
            return 1 if self.embedded else 2
        return 3 if self.leased and not self.embedded else 0


def refresh(
    database: Database,
    encoder: RegisteredEncoder,
    load_encoder: Callable[[], Encoder],
    *,
    snapshot: Snapshot | None = None,
    progress: Progress = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RefreshResult:
    """Bring the encoder's vectors up to date and see that the search index exists.

    The model is loaded only when there is something to embed. Interrupted at any moment, nothing is lost:
    stored batches stay, leased contents become free again. `should_stop` is asked after every batch. A `snapshot`
    is embedded as well as what is current.
    """
    result = RefreshResult()
    with database.transaction() as connection:
        row = connection.execute(_queries.plan).fetchone()
        assert row is not None
        result.patients, result.queued = row
        if snapshot:
            result.queued += _plan_snapshot(connection, encoder, snapshot)
    queue = Queue(database, encoder, _worker_name())
    if queue.outlook().ready:
        _drain(queue, load_encoder(), result, progress, should_stop)
        ensure_index(database, encoder)
    with database.transaction() as connection:
        connection.execute(_queries.concatenate_all)
    left = queue.outlook()
    result.leased, result.waiting, result.dead = left.leased, left.waiting, left.dead
    return result


def refresh_all(
    database: Database,
    encoder: RegisteredEncoder,
    load_encoder: Callable[[RegisteredEncoder], Encoder],
    *,
    snapshot: Snapshot | None = None,
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
            progress=progress,
            should_stop=should_stop,
        )
        for model in models
    ]
    names = [field.name for field in fields(RefreshResult)]
    total = RefreshResult(**{name: sum(getattr(result, name) for result in results) for name in names})
    total.patients = max((result.patients for result in results), default=0)
    return total


def _plan_snapshot(connection: Connection, encoder: RegisteredEncoder, snapshot: Snapshot) -> int:
    cohort = None if snapshot.cohort is None else list(snapshot.cohort)
    values = {"encoder_id": encoder.encoder_id, "as_of": snapshot.as_of, "cohort": cohort}
    row = connection.execute(_queries.plan_snapshot, values).fetchone()
    return int(row[0]) if row else 0


def _drain(
    queue: Queue, encoder: Encoder, result: RefreshResult, progress: Progress, should_stop: Callable[[], bool]
) -> None:
    started = time.monotonic()
    run_id = _start_run(queue, result)
    total = queue.outlook().ready
    try:
        while not should_stop() and (claimed := queue.claim(JOBS_PER_CLAIM)):
            for _ in _embed_claimed(queue, encoder, claimed, result):
                done = result.embedded + result.failed
                progress(done, max(done, total))
                if should_stop():
                    break
    finally:
        queue.release()
        result.seconds = time.monotonic() - started
        _finish_run(queue, run_id, result)


def _embed_claimed(
    queue: Queue, encoder: Encoder, claimed: list[tuple[bytes, str]], result: RefreshResult
) -> Iterator[None]:
    """Embed and store, one step per batch or failure."""
    contents = [content for content, _ in claimed]
    for outcome in embed(encoder, [text for _, text in claimed]):
        if isinstance(outcome, Failure):
            queue.fail(contents[outcome.index], outcome.reason)
            result.failed += 1
        else:
            queue.store([contents[i] for i in outcome.indices], outcome.encoded)
            result.embedded += len(outcome.indices)
            result.tokens += int(outcome.encoded.token_counts.sum())
        yield


def _start_run(queue: Queue, result: RefreshResult) -> int:
    values = {"encoder_id": queue.encoder.encoder_id, "worker": queue.worker, "planned": result.queued}
    with queue.database.transaction() as connection:
        row = connection.execute(_queries.start_run, values).fetchone()
        assert row is not None
        return int(row[0])


def _finish_run(queue: Queue, run_id: int, result: RefreshResult) -> None:
    values = {
        "run_id": run_id,
        "embedded": result.embedded,
        "failed": result.failed,
        "tokens": result.tokens,
        "seconds": result.seconds,
    }
    with queue.database.transaction() as connection:
        connection.execute(_queries.finish_run, values)


def _worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
