"""Bringing embeddings up to date: what is stale is decided in SQL, vectors are computed here."""

from ehrdb.refresh.queue import Outlook, Queue
from ehrdb.refresh.run import RefreshResult, Snapshot, refresh, refresh_all

__all__ = ["Outlook", "Queue", "RefreshResult", "Snapshot", "refresh", "refresh_all"]
