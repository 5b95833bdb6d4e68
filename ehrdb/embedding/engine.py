"""Several workers for one refresh: processes of this machine, or Ray's on many.

Work is shared out in SQL: every worker claims from the one queue, with its own model and its own connection.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from ehrdb.config import Settings
from ehrdb.database import Database, open_database
from ehrdb.embedding.drain import Progress, RefreshResult, add_up, drain, worker_name
from ehrdb.embedding.load import load_encoder
from ehrdb.embedding.queue import Queue
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.encoder import Encoder
from ehrdb.errors import RefreshError
from ehrdb.extras import missing_extra

Kind = Literal["process", "ray"]
LoadEncoder = Callable[[Settings, RegisteredEncoder], Encoder]
Submit = Callable[..., "Future[RefreshResult]"]
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Engine:
    """`workers` workers of that kind; each has an equal share of this machine's cores unless EHRDB_THREADS says.

    With `ray`, workers run wherever the cluster of RAY_ADDRESS puts them (unset: on this machine); they need the
    same EHRDB settings there, and a database that is not the embedded one.
    """

    settings: Settings
    workers: int
    kind: Kind = "process"
    load: LoadEncoder = load_encoder

    def drain(self, database: Database, encoder: RegisteredEncoder, progress: Progress) -> RefreshResult:
        """Empty the encoder's queue. Raises RefreshError where a worker dies, after freeing what it held."""
        names = [worker_name() for _ in range(self.workers)]
        settings = _share_cores(self.settings, self.workers)
        start = {"process": _on_processes, "ray": _on_ray}[self.kind]
        watched = Queue(database, encoder, "engine")
        total = watched.outlook().ready
        with start(self.workers) as submit:
            running = [submit(_work, settings, encoder, self.load, name) for name in names]
            while wait(running, timeout=_LOOK_SECONDS).not_done:
                left = watched.outlook()
                progress(max(0, total - left.ready - left.leased), total)
            try:
                return add_up([future.result() for future in running])
            except BrokenProcessPool:
                for name in names:
                    Queue(database, encoder, name).release()
                raise RefreshError(
                    "a worker process died, probably for lack of memory; what it held is free again",
                    hint="Run this again with fewer --workers.",
                ) from None


def _work(settings: Settings, encoder: RegisteredEncoder, load: LoadEncoder, name: str) -> RefreshResult:
    """What one worker does, in a process of its own."""
    with open_database(settings) as database:
        queue = Queue(database, encoder, name)
        return drain(queue, lambda: load(settings, encoder))


def _share_cores(settings: Settings, workers: int) -> Settings:
    threads = settings.threads or max(1, (os.cpu_count() or 1) // workers)
    return settings.model_copy(update={"threads": threads})


@contextmanager
def _on_processes(workers: int) -> Iterator[Submit]:
    # Not forked: a model's threads and a driver's connections do not survive that.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield pool.submit


@contextmanager
def _on_ray(workers: int) -> Iterator[Submit]:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from None
    ray.init(
        address=os.environ.get("RAY_ADDRESS"),
        include_dashboard=False,  # of a cluster of our own: nobody would look, and it takes seconds and a port
        ignore_reinit_error=True,
        log_to_driver=False,
        logging_level="ERROR",
    )

    def submit(function: Callable[..., RefreshResult], *arguments: Any) -> Future[RefreshResult]:
        settings: Settings = arguments[0]
        remote = ray.remote(num_cpus=settings.threads, max_retries=0)(function)
        future: Future[RefreshResult] = remote.remote(*arguments).future()
        return future

    try:
        yield submit
    finally:
        ray.shutdown()
