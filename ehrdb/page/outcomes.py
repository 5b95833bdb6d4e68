"""What happened to the patients most similar at a moment, beside a sample of others: cumulative shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ehrdb.client import Client
from ehrdb.errors import ArgumentError, NotFound
from ehrdb.page.charts import curve
from ehrdb.page.views import Rows, rows_of, sample
from ehrdb.queries import Queries

HORIZONS = (30, 90, 180, 365, 730)
"""In days."""
SMALLEST_CELL = 11
NEAREST, OTHERS, SAMPLE = 100, 1000, 5000
_queries = Queries("ehrdb.page")


@dataclass(frozen=True)
class Share:
    """By the end of a horizon: who is known until then, how many of them had it; None where that would tell of few."""

    days: int
    followed: int
    with_outcome: int | None
    share: float | None


def outcomes(db: Client, patient_id: int, as_of: datetime | None, outcome: str) -> dict[str, Any]:
    """Shares with the outcome (a task or a code) among the 100 nearest at a moment, and among others; both of a fixed
    sample where there are many patients."""
    if as_of is None:
        raise ArgumentError("outcomes are counted after a past moment", hint="Choose a day first: As of, Go back.")
    values: dict[str, Any] = {"patient_id": patient_id, "as_of": as_of, "outcome": outcome}
    db.note("page: outcomes of the nearest", [patient_id])
    if not rows_of(db, _queries.is_outcome, values)[0]["is_outcome"]:
        raise NotFound("that is neither a task nor a code", hint="Look a code up under Find.")
    among = sample(db, patient_id, SAMPLE)
    followed = rows_of(db, _queries.outcome_times, values | {"near": NEAREST, "others": OTHERS, "sample": among})
    found = {name: shares(of_group(followed, name), as_of) for name in ("nearest", "others")}
    highest = max([share.share or 0 for each in found.values() for share in each] + [0.05])
    lines = {name: _line(each, highest) for name, each in found.items()}
    size = SAMPLE if len(among) == SAMPLE else None
    return {"groups": found, "lines": lines, "highest": highest, "horizons": HORIZONS, "sample": size}


def of_group(rows: Rows, name: str) -> Rows:
    """One group's patients."""
    return [row for row in rows if row["group_name"] == name]


def shares(rows: Rows, as_of: datetime, horizons: Sequence[int] = HORIZONS) -> list[Share]:
    """Cumulative shares; a count from 1 to 10 is shown nowhere, nor as the difference to the horizon before."""
    found: list[Share] = []
    shown = 0
    for days in horizons:
        end = as_of + timedelta(days=days)
        known = [row for row in rows if (row["at"] and row["at"] <= end) or (row["last"] and row["last"] >= end)]
        positive = sum(1 for row in known if row["at"] and row["at"] <= end)
        counts = (positive, len(known) - positive, positive - shown)
        is_safe = all(count == 0 or count >= SMALLEST_CELL for count in counts)
        if is_safe and known:
            shown = positive
        share = positive / len(known) if known and is_safe else None
        found.append(Share(days, len(known), positive if share is not None else None, share))
    return found


def _line(each: list[Share], highest: float) -> str:
    points = [(0.0, 0.0), *((float(one.days), one.share) for one in each if one.share is not None)]
    return curve(points, HORIZONS[-1], highest)
