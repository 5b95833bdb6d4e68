"""The worker: refresh whenever asked, or when enough time has passed; answer searches in words meanwhile."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import lru_cache
from threading import Event, Thread
from time import monotonic

import psycopg
import structlog

from ehrdb.config import Settings
from ehrdb.database import Database, is_pooled
from ehrdb.embedding import registry
from ehrdb.embedding.load import load_encoder
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.embedding.run import refresh_all
from ehrdb.encoder import Encoder
from ehrdb.errors import EhrdbError
from ehrdb.search.answer import answer_searches

CHANNEL = "ehrdb_refresh"
_STOP_CHECK_SECONDS = 1.0
POOLED_POLL_SECONDS = 15
"""How long a wish to refresh waits behind a pooler, which passes no notification on."""


def work(database: Database, settings: Settings, stop: Event, *, poll_seconds: int) -> None:
    """Refresh, then wait for a notification or `poll_seconds`; until `stop` is set.

    A failed round is logged by the error's kind and tried again at the next: the database may be restarting.
    """
    log = _logger()
    log.info("worker_started", place=database.place, poll_seconds=poll_seconds)

    @lru_cache(maxsize=2)  # a concatenation has two parts
    def loaded(encoder: RegisteredEncoder) -> Encoder:
        return load_encoder(settings, encoder)

    searches = Thread(target=answer_searches, args=(database, loaded, stop), daemon=True)
    searches.start()
    while not stop.is_set():
        try:
            with database.transaction() as connection:
                encoder = registry.find(connection, settings.encoder)
            result = refresh_all(database, encoder, loaded, should_stop=stop.is_set)
            log.info("refreshed", encoder=encoder.name, **asdict(result))
            _wait(database, stop, poll_seconds)
        except (EhrdbError, psycopg.Error, OSError) as error:
            log.error("refresh_failed", error=type(error).__name__)
            stop.wait(poll_seconds)
    searches.join()
    log.info("worker_stopped")


def _wait(database: Database, stop: Event, poll_seconds: int) -> None:
    deadline = monotonic() + poll_seconds
    with database.session() as listener:
        if is_pooled(listener):
            _logger().warning("not_listening", reason="a pooler stands between", look_every=POOLED_POLL_SECONDS)
            stop.wait(min(poll_seconds, POOLED_POLL_SECONDS))
            return
        listener.execute(f"listen {CHANNEL}".encode())
        while not stop.is_set() and monotonic() < deadline:
            for _ in listener.notifies(timeout=_STOP_CHECK_SECONDS, stop_after=1):
                return


def _logger() -> structlog.stdlib.BoundLogger:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    logger: structlog.stdlib.BoundLogger = structlog.get_logger()
    return logger
