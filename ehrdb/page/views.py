"""What each page shows: questions to the database under the asker's role, no HTML."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from ehrdb import tables
from ehrdb.client import Client
from ehrdb.errors import EhrdbError, NotFound
from ehrdb.failure import translated
from ehrdb.page.charts import bars, course
from ehrdb.page.sparkline import sparkline, usual
from ehrdb.queries import Queries

EVENTS_A_PAGE = 200
TEXT_CHARACTERS = 12_000
PERIODS, STRIP_HEIGHT = 24, 40
MOST_MOMENTS = 60
SAMPLE = 2500
"""Of whom the nearest at a past day are looked for: everybody's vectors of that day take longer than a page may."""
_queries = Queries("ehrdb.page")
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Section:
    """A part of a page: its content, or why there is none and what to do."""

    content: Any = None
    error: EhrdbError | None = None


def section(ask: Callable[[], Any]) -> Section:
    """The answer, or the error in its place: one part that fails leaves the others to read."""
    try:
        return Section(ask())
    except EhrdbError as error:
        return Section(error=error)


def sample(db: Client, patient_id: int, size: int) -> list[int]:
    """Other patients, the same at every call; fewer than `size` are all that there are."""
    return [row["patient_id"] for row in rows_of(db, _queries.sample, {"patient_id": patient_id, "size": size})]


def home(db: Client) -> dict[str, Any]:
    """What is loaded, how fresh it is, what is wrong."""
    members = rows_of(db, _queries.members)
    db.note("page: listed", [row["patient_id"] for row in members])
    loads, refreshes = rows_of(db, _queries.loads), rows_of(db, _queries.refreshes)
    return {
        "status": db.status(),
        "heads": heads(db),
        "members": members,
        "loads": loads,
        "load_bars": bars([row["rows"] for row in loads]),
        "refreshes": refreshes,
        "refresh_bars": bars([row["embedded"] + row["failed"] for row in refreshes]),
    }


@dataclass(frozen=True)
class Filter:
    """Which of a record's events are listed: of a category, from a day, before an event; None for all."""

    category: str | None = None
    since: datetime | None = None
    before: int | None = None


def patient(
    db: Client, patient_id: int, as_of: datetime | None, wanted: Filter, *, among_everybody: bool = False
) -> dict[str, Any]:
    """One patient as of a moment; the nearest at a past one of a fixed sample, or `among_everybody`.

    Raises NotFound for who is unknown or hidden.
    """
    values: dict[str, Any] = {"patient_id": patient_id, "as_of": as_of or "infinity"}
    who = rows_of(db, _queries.patient, values)
    db.note("page", [patient_id])
    if not who:
        raise NotFound(f"there is no patient {patient_id}, or none that you may see", hint="Look under Find.")
    limits = {**asdict(wanted), "limit": EVENTS_A_PAGE + 1}
    strip = rows_of(db, _queries.strip, values | {"periods": PERIODS})
    events = rows_of(db, _queries.events, values | limits)
    return {
        "patient": who[0],
        "as_of": as_of,
        "later": {days: as_of + timedelta(days=days) for days in (30, 365)} if as_of else {},
        "wanted": wanted,
        "strip": list(zip(strip, bars([row["events"] for row in strip], STRIP_HEIGHT), strict=True)),
        "tasks": [row["task"] for row in rows_of(db, _queries.heads)],
        "older": events[EVENTS_A_PAGE - 1]["ordinal"] if len(events) > EVENTS_A_PAGE else None,
        "categories": rows_of(db, _queries.categories, values),
        "visits": _by_visit(db, events[:EVENTS_A_PAGE], values),
        "measurements": [_drawn(row) for row in rows_of(db, _queries.measurements, values)],
        "neighbours": section(lambda: _neighbours(db, patient_id, as_of, among_everybody)),
        "risks": section(lambda: _risks(db, patient_id, as_of)),
        "text": section(lambda: _text(db, patient_id, as_of)),
    }


def compare(db: Client, patient_a: int, patient_b: int, as_of: datetime | None) -> dict[str, Any]:
    """Why two are alike, or not."""
    rows = db.explain(patient_a, patient_b, as_of)
    order = ("shared", "related", "only_a", "only_b")
    kinds = {kind: [row for row in rows if row["relation"] == kind][:40] for kind in order}
    counts = Counter((row["code"].partition("/")[0], row["relation"]) for row in rows if row["code"])
    names = sorted({name for name, _ in counts}, key=lambda name: -sum(counts[name, kind] for kind in order))
    modalities = [(name, [counts[name, kind] for kind in order]) for name in names[:12]]
    return {"a": patient_a, "b": patient_b, "as_of": as_of, "kinds": kinds, "modalities": modalities}


def by_words(db: Client, words: str, code: str) -> Rows:
    """Patients by a description; where a code is named, among those who have it or one below it.

    Raises NotFound for no code.
    """
    require_code(db, code)
    rows: Rows = db.search(words, 20, holders(db, code) if code else None)
    db.note("page: found by words", [row["patient_id"] for row in rows])
    return rows


def concepts(db: Client, words: str, code: str) -> Rows:
    """Concepts that hold all of the words, and how many patients have them."""
    rows: Rows = db.search_concepts(words, 50)
    return rows


def bearers(db: Client, asked: str, code: str) -> dict[str, Any]:
    """Patients whose record holds the code, or one below it; the first hundred. And the concepts around it."""
    found = holders(db, asked)[:100]
    db.note("page: patients with a code", found)
    return {"patients": found, "kin": rows_of(db, _queries.related_concepts, {"code": asked})}


def holders(db: Client, code: str) -> list[int]:
    """Everybody who has a code or one below it, lowest ids first."""
    return [row["patient_id"] for row in rows_of(db, _queries.bearers, {"code": code})]


def require_code(db: Client, code: str) -> None:
    """Raises NotFound where a code is named that there is not."""
    if code and not rows_of(db, _queries.is_code, {"code": code})[0]["is_code"]:
        raise NotFound("there is no such code", hint="Look it up under Find, by its words.")


def heads(db: Client) -> Rows:
    """What the serving encoder can say, and how often that came about among the labels that it learned from."""

    def counted(row: dict[str, Any], name: str) -> int:
        return sum((row["provenance"].get(name) or {}).values())

    found = rows_of(db, _queries.heads)
    return [{**row, "labels": counted(row, "labels"), "positives": counted(row, "positives")} for row in found]


def _by_visit(db: Client, events: Rows, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Consecutive events of one visit, or of no visit on one day, under what they belong to."""
    ids = sorted({event["visit_id"] for event in events if event["visit_id"]})
    visits = {row["visit_id"]: row for row in rows_of(db, _queries.visits, values | {"visits": ids})}

    def belongs(event: dict[str, Any]) -> tuple[Any, Any]:
        known = event["visit_id"] in visits
        return (event["visit_id"], None) if known else (None, event["time"] and event["time"].date())

    return [
        {"visit": visits.get(visit_id), "day": day, "events": list(of_it)}
        for (visit_id, day), of_it in groupby(events, belongs)
    ]


def _drawn(row: dict[str, Any]) -> dict[str, Any]:
    interval = (row["usual_low"], row["usual_high"])
    line = sparkline(row["moments"], row["figures"], *interval)
    return {**row, "last": row["figures"][-1], "line": line, "usual": usual(*interval)}


def _neighbours(db: Client, patient_id: int, as_of: datetime | None, among_everybody: bool) -> dict[str, Any]:
    """The six most alike, and of how many they are; None: of everybody."""
    values = {"patient_id": patient_id, "as_of": as_of or "infinity"}
    sampled = sample(db, patient_id, SAMPLE) if as_of and not among_everybody else []
    among = sampled if len(sampled) == SAMPLE else None
    rows: Rows = db.nearest(patient_id, 6, among, as_of)
    ids = [row["patient_id"] for row in rows]
    db.note("page: neighbours shown", ids)
    reasons = {row["patient_id"]: row for row in rows_of(db, _queries.reasons, values | {"neighbours": ids})}
    return {"rows": [{**row, **reasons[row["patient_id"]]} for row in rows], "sample": among and len(among)}


def _risks(db: Client, patient_id: int, as_of: datetime | None) -> Rows:
    known = {row["task"]: row for row in heads(db)}
    if not known:
        raise NotFound("nothing has been learned yet", hint="A data engineer runs: ehrdb train guo_los")
    by_task = _probabilities(db, list(known), patient_id, as_of)
    now = {task: row for task, rows in by_task.items() for row in rows if row["is_asked"]}
    if all(row["probability"] is None for row in now.values()):
        db.probability(next(iter(known)), patient_id, as_of)  # says why there is none
    moving = _moving_lines(db, patient_id, as_of)
    return [
        {
            **row,
            "head": known.get(task),
            "test": tested(known.get(task)),
            "lines": moving[task],
            "history": _history(by_task[task]),
        }
        for task, row in now.items()
        if row["probability"] is not None
    ]


def _probabilities(db: Client, tasks: list[str], patient_id: int, as_of: datetime | None) -> dict[str, Rows]:
    """By task, as of the moment and how it came to that, oldest first."""
    values = {"tasks": tasks, "patient_id": patient_id, "as_of": as_of or "infinity", "limit": MOST_MOMENTS}
    found: dict[str, Rows] = defaultdict(list)
    for row in rows_of(db, _queries.risks, values):
        found[row["task"]].append(row)
    return found


def _history(rows: Rows) -> dict[str, Any] | None:
    """What is drawn, and after how many visits the record is not embedded; None where nothing is to be drawn."""
    known = [row for row in rows if row["is_history"] and row["probability"] is not None]
    missing = sum(1 for row in rows if row["is_missing"])
    if not known:
        return None
    drawn = course([row["as_of"] for row in known], [row["probability"] for row in known], known[0]["base_rate"])
    return {"rows": known, "drawn": drawn, "missing": missing}


def _moving_lines(db: Client, patient_id: int, as_of: datetime | None) -> dict[str, Rows]:
    """By task the lines of the text that move its probability most, where `ehrdb explain` has found them."""
    found: dict[str, Rows] = defaultdict(list)
    for row in rows_of(db, _queries.moving_lines, {"patient_id": patient_id, "as_of": as_of or "infinity"}):
        found[row["task"]].append(row)
    return found


def tested(head: dict[str, Any] | None) -> dict[str, Any] | None:
    """How well a head did on its test patients; None where it was not tested, or has other targets' names."""
    learned = (head or {}).get("provenance", {})
    scores = learned.get("test") or {}
    if scores.get("auroc") is None or scores.get("brier") is None:
        return None
    calibrated = learned.get("is_calibrated", False)
    return {**scores, "labels": learned.get("labels", {}).get("test"), "is_calibrated": calibrated}


def _text(db: Client, patient_id: int, as_of: datetime | None) -> dict[str, Any]:
    """The text as the encoder reads it, as far as a page holds it: one line alone may have megabytes."""
    found = db.timeline(patient_id, as_of, max_chars=TEXT_CHARACTERS)
    is_cut = found.lines_cut > 0 or len(found.text) > TEXT_CHARACTERS
    return {"text": found.text[:TEXT_CHARACTERS], "is_cut": is_cut}


def rows_of(db: Client, query: bytes, values: dict[str, Any] | None = None) -> Rows:
    """What a query answers under the asker's rights."""
    with translated(), db.database.transaction() as connection:
        found: Rows = tables.fetch(connection, "rows", query, values)
    return found
