"""Who is signed in. A cookie names a session; whose it is, and that it goes on, only this program knows."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

SECONDS = 8 * 3600
"""How long after signing in somebody has to do so again."""


class Sessions:
    """Sessions by their random key; each ends when its owner signs out, SECONDS after it began, or with the program."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, tuple[str, float]] = {}

    def begin(self, role: str) -> str:
        """The key of a new session."""
        now = self._clock()
        self._open = {key: (who, end) for key, (who, end) in self._open.items() if end > now}
        key = secrets.token_urlsafe(32)
        self._open[key] = role, now + SECONDS
        return key

    def role(self, key: str) -> str | None:
        """Whose it is; None where it has ended, or never was."""
        role, end = self._open.get(key, (None, 0.0))
        return role if end > self._clock() else None

    def end(self, key: str) -> None:
        """Nobody comes in with it any more."""
        self._open.pop(key, None)
