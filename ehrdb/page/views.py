"""What each page shows: questions to the database under the asker's role, no HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from ehrdb import tables
from ehrdb.client import Client
from ehrdb.errors import EhrdbError, NotFound
from ehrdb.failure import translated
from ehrdb.page.sparkline import sparkline
from ehrdb.queries import Queries

EVENTS_A_PAGE = 200
TEXT_CHARACTERS = 12_000
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


def home(db: Client) -> dict[str, Any]:
    """What is loaded, how fresh it is, what is wrong."""
    found = db.status()
    return {"status": found, "heads": _rows(db, _queries.heads), "members": _rows(db, _queries.members)}


def patient(
    db: Client, patient_id: int, as_of: datetime | None, category: str | None, before: int | None
) -> dict[str, Any]:
    """One patient as of a moment. Raises NotFound for who is unknown or hidden."""
    values: dict[str, Any] = {"patient_id": patient_id, "as_of": as_of or "infinity"}
    who = _rows(db, _queries.patient, values)
    db.note("page", [patient_id])
    if not who:
        raise NotFound(f"there is no patient {patient_id}, or none that you may see", hint="Look under Find.")
    limits = {"category": category, "before": before, "limit": EVENTS_A_PAGE + 1}
    events = _rows(db, _queries.events, values | limits)
    return {
        "patient": who[0],
        "as_of": as_of,
        "category": category,
        "before": before,
        "older": events[EVENTS_A_PAGE - 1]["ordinal"] if len(events) > EVENTS_A_PAGE else None,
        "categories": _rows(db, _queries.categories, values),
        "visits": _by_visit(db, events[:EVENTS_A_PAGE], values),
        "measurements": [_drawn(row) for row in _rows(db, _queries.measurements, values)],
        "neighbours": section(lambda: _neighbours(db, patient_id, values)),
        "risks": section(lambda: _risks(db, patient_id, as_of)),
        "text": section(lambda: _text(db, patient_id, as_of)),
    }


def compare(db: Client, patient_a: int, patient_b: int, as_of: datetime | None) -> dict[str, Any]:
    """Why two are alike, or not."""
    rows = db.explain(patient_a, patient_b, as_of)
    order = ("shared", "related", "only_a", "only_b")
    kinds = {kind: [row for row in rows if row["relation"] == kind][:40] for kind in order}
    return {"a": patient_a, "b": patient_b, "as_of": as_of, "kinds": kinds}


def concepts(db: Client, words: str) -> Rows:
    """Concepts that hold all of the words, and how many patients have them."""
    rows: Rows = db.search_concepts(words, 50)
    return rows


def bearers(db: Client, code: str) -> list[int]:
    """Patients whose record holds the code; the first hundred."""
    db.note("page: patients with a code")
    return [row["patient_id"] for row in _rows(db, _queries.bearers, {"code": code})]


def _by_visit(db: Client, events: Rows, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Consecutive events of one visit, or of no visit on one day, under what they belong to."""
    ids = sorted({event["visit_id"] for event in events if event["visit_id"]})
    visits = {row["visit_id"]: row for row in _rows(db, _queries.visits, values | {"visits": ids})}

    def belongs(event: dict[str, Any]) -> tuple[Any, Any]:
        known = event["visit_id"] in visits
        return (event["visit_id"], None) if known else (None, event["time"] and event["time"].date())

    return [
        {"visit": visits.get(visit_id), "day": day, "events": list(of_it)}
        for (visit_id, day), of_it in groupby(events, belongs)
    ]


def _drawn(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "last": row["figures"][-1], "line": sparkline(row["moments"], row["figures"])}


def _neighbours(db: Client, patient_id: int, values: dict[str, Any]) -> Rows:
    rows: Rows = db.nearest(patient_id, 6, as_of=values["as_of"] if values["as_of"] != "infinity" else None)
    ids = [row["patient_id"] for row in rows]
    reasons = {row["patient_id"]: row["shared"] for row in _rows(db, _queries.reasons, values | {"neighbours": ids})}
    return [{**row, "shared": reasons[row["patient_id"]]} for row in rows]


def _risks(db: Client, patient_id: int, as_of: datetime | None) -> Rows:
    heads = {row["task"]: row for row in _rows(db, _queries.heads)}
    if not heads:
        raise NotFound("nothing has been learned yet", hint="A data engineer runs: ehrdb train guo_los")
    rows: Rows = db.predict(list(heads), [patient_id], as_of)
    if not rows:
        db.probability(next(iter(heads)), patient_id, as_of)  # says why there is none
    return [{**row, "head": heads.get(row["task"]), "test": _tested(heads.get(row["task"]))} for row in rows]


def _tested(head: dict[str, Any] | None) -> dict[str, Any] | None:
    """How well a head did on its test patients; None where it was not tested, or has other targets' names."""
    learned = (head or {}).get("provenance", {})
    scores = learned.get("test") or {}
    if not {"auroc", "brier"} <= scores.keys():
        return None
    calibrated = learned.get("is_calibrated", False)
    return {**scores, "labels": learned.get("labels", {}).get("test"), "is_calibrated": calibrated}


def _text(db: Client, patient_id: int, as_of: datetime | None) -> dict[str, Any]:
    """The text as the encoder reads it, as far as a page holds it: one line alone may have megabytes."""
    found = db.timeline(patient_id, as_of, max_chars=TEXT_CHARACTERS)
    is_cut = found.lines_cut > 0 or len(found.text) > TEXT_CHARACTERS
    return {"text": found.text[:TEXT_CHARACTERS], "is_cut": is_cut}


def _rows(db: Client, query: bytes, values: dict[str, Any] | None = None) -> Rows:
    with translated(), db.database.transaction() as connection:
        found: Rows = tables.fetch(connection, "rows", query, values)
    return found
