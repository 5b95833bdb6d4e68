"""The worker: refresh whenever asked, or when enough time has passed; answer searches in words meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from threading import Event, Thread
from time import monotonic

import psycopg
import sqlalchemy.exc
import structlog

from ehrdb.config import Settings
from ehrdb.database import Connection, Database, is_pooled
from ehrdb.embedding import registry
from ehrdb.embedding.load import LoadEncoder, each_model_once, load_encoder
from ehrdb.embedding.run import refresh_all
from ehrdb.errors import EhrdbError, RefreshError
from ehrdb.search.answer import answer_searches

CHANNEL = "ehrdb_refresh"
_STOP_CHECK_SECONDS = 1.0
RETRY_SECONDS = 5
"""After a failed round, at most; and `poll_seconds` where that is less."""
POOLED_POLL_SECONDS = 15
"""How long a wish to refresh waits behind a pooler, which passes no notification on."""


@dataclass
class Vitals:
    """How the worker itself is, for its metrics; whether search's thread lives, and how rounds went."""

    worker_searches_answered: int = 0
    worker_rounds: int = 0
    worker_rounds_failed: int = 0
    worker_last_round_timestamp_seconds: float = 0

    def figures(self) -> dict[str, float]:
        """By their names."""
        return asdict(self)


def work(
    database: Database, settings: Settings, stop: Event, *, poll_seconds: int, vitals: Vitals | None = None
) -> None:
    """Refresh, then wait for a notification or `poll_seconds`; until `stop` is set.

    A failed round is logged and tried again soon: the database may be restarting, or another server taking over. It
    is listened to before every round, so that no wish is missed, and anew where the connection was lost. Raises
    RefreshError where the thread that answers searches died: whoever started the worker is to start it again.
    """
    _configure_logs()
    log = _logger()
    log.info("worker_started", place=database.place, poll_seconds=poll_seconds)
    vitals = vitals or Vitals()

    loaded = each_model_once(partial(load_encoder, settings))
    with _searches_answered(database, loaded, stop, vitals):
        while not stop.is_set():
            try:
                with database.session() as listener:
                    listens = _listen(listener)
                    while not stop.is_set():
                        _round(database, settings, loaded, stop, vitals)
                        if listens:
                            _wait(listener, stop, poll_seconds)
                        else:
                            stop.wait(min(poll_seconds, POOLED_POLL_SECONDS))
            except (EhrdbError, psycopg.Error, sqlalchemy.exc.DBAPIError, OSError) as error:
                vitals.worker_rounds_failed += 1
                log.error("refresh_failed", error=type(error).__name__, **_in_words(error))
                stop.wait(min(poll_seconds, RETRY_SECONDS))
    log.info("worker_stopped")


def _round(database: Database, settings: Settings, loaded: LoadEncoder, stop: Event, vitals: Vitals) -> None:
    """One refresh. Models are loaded first, whether there is work for them or not: searches need them too."""
    with database.transaction() as connection:
        encoder = registry.find(connection, settings.encoder)
        models = registry.models(connection, encoder)
    for model in models:
        loaded(model)
    result = refresh_all(database, encoder, loaded, should_stop=stop.is_set)
    vitals.worker_rounds += 1
    vitals.worker_last_round_timestamp_seconds = time.time()
    _logger().info("refreshed", encoder=encoder.name, **asdict(result))


def _listen(listener: Connection) -> bool:
    """Whether notifications will come: a pooler passes none on."""
    if is_pooled(listener):
        _logger().warning("not_listening", reason="a pooler stands between", look_every=POOLED_POLL_SECONDS)
        return False
    listener.execute(f"listen {CHANNEL}".encode())
    return True


def _wait(listener: Connection, stop: Event, poll_seconds: int) -> None:
    """Until somebody asks or time is up; what came during the round counts. Raises where the connection is lost."""
    deadline = monotonic() + poll_seconds
    while not stop.is_set() and monotonic() < deadline:
        if list(listener.notifies(timeout=min(_STOP_CHECK_SECONDS, deadline - monotonic()), stop_after=1)):
            return
    listener.execute("select")  # one that died without a word is found out here


@contextmanager
def _searches_answered(database: Database, loaded: LoadEncoder, stop: Event, vitals: Vitals) -> Iterator[None]:
    """Beside what goes on within, a thread that answers searches; its death stops the worker, and is raised."""
    died: list[str] = []

    def answer() -> None:
        vitals.worker_searches_answered = 1
        try:
            answer_searches(database, loaded, stop)
        except BaseException as error:
            died.append(type(error).__name__)
            stop.set()
        vitals.worker_searches_answered = 0

    thread = Thread(target=answer, name="searches", daemon=True)
    thread.start()
    yield
    thread.join()
    if died:
        _logger().error("thread_died", thread=thread.name, error=died[0])
        raise RefreshError(f"the thread that answers searches died ({died[0]})", hint="Start the worker again.")


def _in_words(error: Exception) -> dict[str, str]:
    """Our own errors' words, which hold no record's; of others the kind alone is told."""
    if not isinstance(error, EhrdbError):
        return {}
    return {"message": error.message, **({"hint": error.hint} if error.hint else {})}


def _logger() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger()
    return logger


def _configure_logs() -> None:
    """Lines for people on a terminal, JSON for everything else."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
