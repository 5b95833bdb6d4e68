"""The page Models: encoders and heads; of one task its card, calibration, subgroups and years."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ehrdb.client import Client
from ehrdb.failure import translated
from ehrdb.page.charts import square
from ehrdb.page.views import Rows, Section, rows_of, section, tested
from ehrdb.queries import Queries

BANDS = 10
MOST_LABELS = 5_000
MOST_MONTHS = 24
_queries = Queries("ehrdb.page")


def models(db: Client) -> dict[str, Any]:
    """What there is to embed and to predict with."""
    heads = rows_of(db, _queries.all_heads)
    return {
        "encoders": rows_of(db, _queries.encoders),
        "heads": [{**head, "test": tested(head)} for head in heads],
        "evaluations": [row for row in rows_of(db, _queries.evaluations, {"task": None}) if row["place"] == 1],
    }


def model(db: Client, task: str) -> dict[str, Any]:
    """One task of the serving encoder. Raises NotFound, with why, where it has no head."""
    card = rows_of(db, _queries.card, {"task": task})[0]["card"]
    db.note(f"page: model {task}")
    predictions = rows_of(db, _queries.test_predictions, {"task": task, "limit": MOST_LABELS})
    months = rows_of(db, _queries.months, {"task": task})
    return {
        "task": task,
        "card": card,
        "facts": [(name, value) for name, value in _flat(card) if name not in ("task", "description")],
        "labels": len(predictions),
        "is_sample": sum(card.get("labels", {}).values()) > MOST_LABELS,
        "calibration": section(lambda: calibration(predictions)) if predictions else Section(),
        "subgroups": section(lambda: subgroups(predictions)) if predictions else Section(),
        "years": by_year(predictions),
        "months": [row for row in months if row["predicted"] is not None][-MOST_MONTHS:],
        "checked_at": months[-1]["checked_at"] if months else None,
        "evaluations": rows_of(db, _queries.evaluations, {"task": task}),
    }


def calibration(predictions: Rows) -> dict[str, Any] | None:
    """Bands of similar probability, each of eleven patients or more; None where there are fewer."""
    with translated():
        import numpy as np

        from ehrdb.evaluation.diagnostics import bands, expected_calibration_error

        labels = np.array([row["label"] for row in predictions], dtype=np.int64)
        probability = np.array([row["probability"] for row in predictions])
        found = bands(labels, probability, np.array([row["patient_id"] for row in predictions]), BANDS)
    if not found:
        return None
    points = square([(band.mean_probability, band.positives / band.labels) for band in found])
    return {"bands": found, "points": points, "error": expected_calibration_error(found)}


def subgroups(predictions: Rows) -> list[dict[str, Any]]:
    """AUROC by sex and age; withheld where a class has fewer than eleven patients, or all are one class."""
    with translated():
        from sklearn.metrics import roc_auc_score

        from ehrdb.evaluation.diagnostics import MINIMUM_CELL
    found = []
    for name, level in _LEVELS.items():
        for value in sorted({level(row) for row in predictions}):
            rows = [row for row in predictions if level(row) == value]
            patients = {label: len({row["patient_id"] for row in rows if row["label"] == label}) for label in (0, 1)}
            if sum(patients.values()) < MINIMUM_CELL:
                continue
            auroc = None
            if min(patients.values()) >= MINIMUM_CELL:
                auroc = float(roc_auc_score([row["label"] for row in rows], [row["probability"] for row in rows]))
            found.append({"variable": name, "level": value, "labels": len(rows), "auroc": auroc})
    return found


def by_year(predictions: Rows) -> list[dict[str, Any]]:
    """What was predicted and what came about, year by year: a gap that grows is drift. Years of eleven patients."""
    found = []
    for year in sorted({row["year"] for row in predictions}):
        rows = [row for row in predictions if row["year"] == year]
        positive = sum(row["label"] for row in rows)
        is_safe = min(positive, len(rows) - positive) >= 11
        mean = sum(row["probability"] for row in rows) / len(rows)
        if len({row["patient_id"] for row in rows}) >= 11:
            rate = positive / len(rows) if is_safe else None
            found.append({"year": year, "labels": len(rows), "predicted": mean, "observed": rate})
    return found


def _age_group(row: dict[str, Any]) -> str:
    ends = ((18, "0-17"), (40, "18-39"), (65, "40-64"), (80, "65-79"))
    return "unknown" if row["age"] is None else next((name for end, name in ends if row["age"] < end), "80+")


_LEVELS: dict[str, Callable[[dict[str, Any]], str]] = {"sex": lambda row: row["sex"] or "unknown", "age": _age_group}


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """JSON as lines: a.b, value."""
    if isinstance(value, dict):
        return [line for key, part in value.items() for line in _flat(part, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list) and any(isinstance(part, dict) for part in value):
        return [line for number, part in enumerate(value, 1) for line in _flat(part, f"{name}.{number}")]
    if isinstance(value, float):
        return [(name, f"{value:.4g}")]
    return [(name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]
