"""Bringing embeddings up to date: what is stale is decided in SQL, vectors are computed here."""

from ehrdb.refresh.drain import Progress, RefreshResult
from ehrdb.refresh.engine import Engine
from ehrdb.refresh.queue import Outlook, Queue
from ehrdb.refresh.run import Snapshot, refresh, refresh_all

__all__ = ["Engine", "Outlook", "Progress", "Queue", "RefreshResult", "Snapshot", "refresh", "refresh_all"]
