"""How often somebody may ask."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class Limit:
    """At most `count` times within `seconds`, for each name apart. Forgets names that have not asked for that long."""

    def __init__(self, count: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._count, self._seconds, self._clock = count, seconds, clock
        self._asked: dict[str, deque[float]] = {}

    def allows(self, name: str) -> bool:
        """Whether this one time more is within it; it counts."""
        now = self._clock()
        for other in [other for other, times in self._asked.items() if times[-1] < now - self._seconds]:
            del self._asked[other]
        times = self._asked.setdefault(name, deque(maxlen=self._count))
        is_full = len(times) == self._count and times[0] >= now - self._seconds
        if not is_full:
            times.append(now)
        return not is_full
