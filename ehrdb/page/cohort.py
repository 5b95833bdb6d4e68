"""The page Cohort: who is meant, then its members by risk, its balance against matched controls, or its map."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ehrdb.client import Client
from ehrdb.database import register_vectors
from ehrdb.errors import ConfigError, NotFound
from ehrdb.failure import translated
from ehrdb.page.charts import love
from ehrdb.page.views import Rows, require_code, rows_of, section
from ehrdb.queries import Queries

MOST_MEMBERS, MOST_CASES, MOST_CANDIDATES = 2000, 100, 500
MOST_PLACED, MOST_DOTS = 1000, 500
SHOWN = 25
SHOWS = ("members", "balance", "map")
COLOURS = ("sex", "age", "source", "code", "task")
SIZE, MARGIN = 1000, 30
LAST_COLOUR = 6
ROUNDS = 30
_queries = Queries("ehrdb.page")


@dataclass(frozen=True)
class Wanted:
    """What the form says."""

    code: str = ""
    sex: str = ""
    born_from: str = ""
    born_to: str = ""
    ids: str = ""
    task: str = ""
    colour: str = "sex"
    colour_code: str = ""
    show: str = "members"
    x: float = 0.5
    y: float = 0.5
    zoom: int = 0

    @property
    def values(self) -> dict[str, Any]:
        """For the query of members. Raises ConfigError for what is no year, no id."""
        ids = [part for part in re.split(r"[\s,;]+", self.ids) if part]
        if not all(re.fullmatch(r"-?\d{1,18}", part, re.ASCII) for part in ids):
            raise ConfigError("an id is no whole number", hint="Ids as in ehr.patient, with blanks or commas between.")
        for year in (self.born_from, self.born_to):
            if year and not re.fullmatch(r"\d{4}", year, re.ASCII):
                raise ConfigError("a year of birth has four figures", hint="For example 1950.")
        return {
            "code": self.code.strip() or None,
            "sex": self.sex or None,
            "born_from": int(self.born_from) if self.born_from else None,
            "born_to": int(self.born_to) if self.born_to else None,
            "ids": [int(part) for part in ids] or None,
        }


def wanted(form: dict[str, str]) -> Wanted:
    """What a form asks for; `move` is a button of the map."""
    known = {name: form[name].strip() for name in Wanted.__dataclass_fields__ if name in form}
    numbers = {name: _number(known.pop(name, default)) for name, default in (("x", "0.5"), ("y", "0.5"), ("zoom", "0"))}
    if "move" in form:
        known["show"] = "map"
    asked = Wanted(**known, x=numbers["x"], y=numbers["y"], zoom=int(numbers["zoom"]))
    if asked.show not in SHOWS or asked.colour not in COLOURS:
        raise ConfigError("there is no such view of a cohort", hint=f"There are: {', '.join(SHOWS)}.")
    return _moved(asked, form.get("move", ""))


def tasks(db: Client) -> list[str]:
    """What can be predicted."""
    return [row["task"] for row in rows_of(db, _queries.heads)]


def cohort(db: Client, asked: Wanted) -> dict[str, Any]:
    """The members, and what is shown of them."""
    require_code(db, asked.code)
    members = rows_of(db, _queries.cohort_members, asked.values | {"limit": MOST_MEMBERS + 1})
    ids = [row["patient_id"] for row in members[:MOST_MEMBERS]]
    db.note("page: cohort", None)
    view = {"members": _members, "balance": _balance, "map": _map}[asked.show]
    return {
        "asked": asked,
        "tasks": tasks(db),
        "size": len(ids),
        "is_sample": len(members) > MOST_MEMBERS,
        "shown": section(lambda: view(db, asked, ids)) if ids else None,
    }


def _members(db: Client, asked: Wanted, ids: list[int]) -> dict[str, Any]:
    """Those with the highest risk, or without a task the first."""
    if not asked.task:
        rows: Rows = [{"patient_id": patient_id} for patient_id in sorted(ids)[: 4 * SHOWN]]
    else:
        rows = db.predict(asked.task, ids)[:SHOWN]
    db.note("page: members shown", [row["patient_id"] for row in rows])
    return {"rows": rows}


def _balance(db: Client, asked: Wanted, ids: list[int]) -> dict[str, Any]:
    """Standardized differences to as many others, and to controls matched by their records, sex and age."""
    cases = ids[:MOST_CASES]
    others = [row["patient_id"] for row in rows_of(db, _queries.others, {"ids": ids, "limit": MOST_CANDIDATES})]
    if not others:
        raise NotFound("there is nobody else to compare with", hint="Choose a smaller cohort.")
    # What the cohort is chosen by, its controls cannot share.
    is_aged, is_sexed = not (asked.born_from or asked.born_to), not asked.sex
    matching = db.match(cases, others, same_sex=is_sexed, age_band=10 if is_aged else None)
    if not matching.pairs:
        raise NotFound("no control is like a member in sex and age", hint="Choose the cohort by something else.")
    before = rows_of(db, _queries.balance, {"cohort": cases, "controls": others[:MOST_CASES]})
    after = {row["covariate"]: row for row in matching.balance}
    return {
        "cases": len(cases),
        "controls": len(matching.pairs),
        "by": ["record", *(["sex"] if is_sexed else []), *(["age"] if is_aged else [])],
        "candidates": len(others),
        "rows": [
            {
                **after.get(row["covariate"], row),
                "before": row["standardized_difference"],
                "x_before": love(row["standardized_difference"]),
                "x_after": love(after.get(row["covariate"], {}).get("standardized_difference")),
            }
            for row in before
        ],
    }


def _map(db: Client, asked: Wanted, ids: list[int]) -> dict[str, Any]:
    """Members as dots, alike ones close together; what lies in the window, as many as a page holds."""
    if asked.colour == "task" and not asked.task:
        raise ConfigError("choose a task to colour by", hint="Risk of, above.")
    with translated(), db.database.transaction() as connection:
        register_vectors(connection)
        values = {
            "ids": ids[:MOST_PLACED],
            "colour": asked.colour,
            "code": asked.colour_code or asked.code,
            "task": asked.task,
        }
        rows = connection.execute(_queries.dots, values, binary=True).fetchall()
    if len(rows) < 3:
        raise NotFound(f"only {len(rows)} members are embedded", hint="A data engineer runs: ehrdb refresh")
    places = projected(np.stack([vector.to_numpy() for _, vector, _ in rows]).astype(np.float32))
    half = 0.5**asked.zoom / 2
    inside = (np.abs(places - (asked.x, asked.y)) <= half).all(axis=1)
    chosen = np.flatnonzero(inside)[:MOST_DOTS]
    groups = [row[2] or "unknown" for row in rows]
    names = sorted(set(groups))
    scale = (SIZE - 2 * MARGIN) / (2 * half)
    dots = [
        {
            "patient_id": rows[number][0],
            "group": groups[number],
            "colour": min(names.index(groups[number]), LAST_COLOUR),
            "x": round(MARGIN + float(places[number][0] - asked.x + half) * scale),
            "y": round(MARGIN + float(places[number][1] - asked.y + half) * scale),
        }
        for number in chosen
    ]
    db.note("page: map", [rows[number][0] for number in chosen])
    legend = [(min(number, LAST_COLOUR), name, groups.count(name)) for number, name in enumerate(names)]
    return {"dots": dots, "legend": legend, "inside": int(inside.sum()), "embedded": len(rows)}


def projected(vectors: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The two directions of most variance, each from 0 to 1."""
    centred = vectors - vectors.mean(axis=0)
    # By iteration, from one start: all eigenvectors take seconds, and minutes of thousands of dimensions.
    basis = np.random.default_rng(0).standard_normal((centred.shape[1], min(8, centred.shape[1]))).astype(np.float32)
    with threadpool_limits(1):  # products so small that threads only wait for each other
        for _ in range(ROUNDS):
            basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
        turned = (centred @ basis).astype(np.float64)
        _, directions = np.linalg.eigh(turned.T @ turned)
    places = turned @ directions[:, :-3:-1]
    # An eigenvector may point either way: the same way on every machine.
    places *= np.where(places[np.abs(places).argmax(axis=0), [0, 1]] < 0, -1, 1)
    low, high = places.min(axis=0), places.max(axis=0)
    return np.asarray((places - low) / np.maximum(high - low, 1e-9), dtype=np.float64)


def _moved(asked: Wanted, move: str) -> Wanted:
    """The window after a button, inside the map."""
    step = 0.5**asked.zoom / 4
    by = {"left": (-step, 0.0, 0), "right": (step, 0.0, 0), "up": (0.0, -step, 0), "down": (0.0, step, 0)}
    x, y, zoom = {**by, "in": (0.0, 0.0, 1), "out": (0.0, 0.0, -1)}.get(move, (0.0, 0.0, 0))
    nearer = max(0, min(6, asked.zoom + zoom))
    half = 0.5**nearer / 2
    place = {"x": min(1 - half, max(half, asked.x + x)), "y": min(1 - half, max(half, asked.y + y)), "zoom": nearer}
    return Wanted(**{**asked.__dict__, **place})


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not 0 <= found <= 6:
        raise ConfigError("the map has no such place", hint="Use its buttons.")
    return found
