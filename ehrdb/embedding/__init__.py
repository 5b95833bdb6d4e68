"""Bringing embeddings up to date: what is stale is decided in SQL, vectors are computed here."""

from ehrdb.embedding.drain import Progress, RefreshResult
from ehrdb.embedding.engine import Engine
from ehrdb.embedding.index_dates import IndexDates
from ehrdb.embedding.queue import Outlook, Queue
from ehrdb.embedding.repair import Repaired, repair
from ehrdb.embedding.run import Snapshot, refresh, refresh_all

__all__ = [
    "Engine",
    "IndexDates",
    "Outlook",
    "Progress",
    "Queue",
    "RefreshResult",
    "Repaired",
    "Snapshot",
    "refresh",
    "refresh_all",
    "repair",
]
