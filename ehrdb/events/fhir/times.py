"""FHIR's dates and times as local timestamps. A date may lack its time, its day or its month."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ehrdb.errors import InputError

_FORM = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Span:
    """What a text says of a moment: it lies between `first` and `last`, which are equal where the time is known."""

    first: datetime
    last: datetime

    @property
    def is_exact(self) -> bool:
        """Whether the time is known."""
        return self.first == self.last


class Clock:
    """Whose time is kept, and what a date without a time means."""

    def __init__(self, time_zone: ZoneInfo | None = None, *, end_of_day: bool = True) -> None:
        """`end_of_day`: what lacks its time (day, month) is at the last minute that it may be, or at the first."""
        self._zone = time_zone
        self._end_of_day = end_of_day
        self.universal = self.offset = 0
        """Times that say Z, and those that say another offset, while no zone is given."""

    def span(self, text: str, field: str) -> Span:
        """Read a date or time. Raises InputError, naming the field, for what is none."""
        found = _FORM.fullmatch(text)
        try:
            if found is None:
                raise ValueError
            year, month, day, zone = found.groups()
            if len(text) > 10:
                moment = self._local(datetime.fromisoformat(text), zone)
                return Span(moment, moment)
            return _of_date(int(year), int(month or 0), int(day or 0))
        except (ValueError, OverflowError):
            raise InputError("is no date or time of FHIR, or impossible", column=field) from None

    def moments(self, start: Span | None, end: Span | None, *, is_visit: bool = False) -> tuple[datetime | None, ...]:
        """When something began and ended. No date without a time lies behind the end that it belongs to."""
        if start is None:
            return None, self._end(end, None)
        begins = start.first
        if not start.is_exact and self._end_of_day:
            begins = start.last
            if end is not None and end.last >= start.first:
                latest = end.last - (_MINUTE if is_visit else timedelta())
                begins = max(start.first, min(start.last, latest))
        return begins, self._end(end, begins)

    def _end(self, end: Span | None, begins: datetime | None) -> datetime | None:
        if end is None:
            return None
        if self._end_of_day or end.is_exact:
            return end.last
        return begins if begins is not None and end.first <= begins <= end.last else end.first

    def _local(self, moment: datetime, zone: str | None) -> datetime:
        if zone is not None and self._zone is not None:
            moment = moment.astimezone(self._zone)
        elif zone == "Z":
            self.universal += 1
        elif zone is not None:
            self.offset += 1
        return moment.replace(tzinfo=None)


def _of_date(year: int, month: int, day: int) -> Span:
    first = datetime(year, month or 1, day or 1)
    last_month = month or 12
    last_day = day or monthrange(year, last_month)[1]
    return Span(first, datetime(year, last_month, last_day, 23, 59))
