"""The 25 tasks that the paper asks of the UK Biobank: death, hospitalization and 23 first onsets within a year."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml

from ehrdb.prediction.site import Declaration

FILE = "uk_biobank.yaml"
_DAYS = 365
_HOW: dict[str, Any] = {"descendants": "mapped", "spelling": "any"}
"""Codes in any source's spelling, and those that the site's maps say to be one of them (SNOMED of ICD10)."""


def uk_biobank_tasks(cohort: int) -> list[Declaration]:
    """The tasks of patients who enter an OMOP cohort, each asked once: at the end of the day of the first entry.

    Asked are those with full demographics and with events both before and after it; of onsets, those who did not have
    the disease by then. No follow-up is no outcome.
    """
    return [_declared(cohort, **fields) for fields in _shipped()]


def uk_biobank_names() -> set[str]:
    """What these tasks are called."""
    return {fields["task"] for fields in _shipped()}


def _shipped() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((files("ehrdb.prediction") / FILE).read_text(encoding="utf-8"))
    return found


def _declared(cohort: int, task: str, question: str, outcome: dict[str, Any]) -> Declaration:
    onset = {**outcome, **_HOW} if "codes" in outcome else outcome
    fields = {
        "task": task,
        "group": "uk_biobank",
        "description": _description(question),
        "question": question,
        "prediction_time": {"cohort": cohort, "end_of_day": True, "first": True},
        "outcome": {**onset, "days": _DAYS},
        "exclude": [] if onset is outcome else [onset],
        "full_demographics": True,
        "observed_around": True,
        "censoring": "negative",
    }
    return Declaration.model_validate(fields)


def _description(question: str) -> str:
    """Of an onset: when, too."""
    onset = question.removeprefix("has the patient ")
    sentence = question if onset == question else f"will the patient have {onset} within a year, for the first time"
    return f"{sentence[0].upper()}{sentence[1:]}?"
