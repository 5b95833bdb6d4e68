"""Resources as rows of the staging tables (`fhir.sql`), a batch at a time."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ehrdb.database import Connection
from ehrdb.errors import InputError
from ehrdb.events.fhir.facts import Context, Fact, facts_of, reason_against
from ehrdb.events.fhir.models import Clinical, Immunization, Medication, Patient, Read
from ehrdb.events.fhir.person import facts_of_person, number_of
from ehrdb.events.fhir.source import Found
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events.fhir", "fhir.sql")
_BATCH = 20_000
_COPIES = {"patient": _queries.copy_patients, "medication": _queries.copy_medications, "event": _queries.copy_events}
Row = tuple[Any, ...]


@dataclass
class Rows:
    """Takes resources and writes rows. `read`: resources by type; `unread`: those of types that are not read."""

    connection: Connection
    context: Context
    identifier: str | None = None
    read: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    _rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in _COPIES})

    def add(self, found: Found, row: int) -> None:
        """A resource, with the number that stands for its place. Raises InputError with the field that is at fault."""
        if found.resource is None:
            self.unread[found.kind] += 1
            return
        self.read[found.kind] += 1
        self.context.names = found.names
        if not found.resource.id:
            raise InputError("is missing", column=f"{found.kind}.id")
        self._stage(found.resource, (row, found.kind, found.resource.id, _updated(found.resource), found.digest))
        if len(self._rows["event"]) >= _BATCH:
            self.flush()

    def leave_out(self, found: Found, row: int, reason: str) -> None:
        """A resource that could not be read: counted, and nothing else."""
        identity = f"row {row}"
        self.read[found.kind] += found.resource is None
        self._rows["event"].append(_event((row, found.kind, identity, None, 0), 0, None, Fact(), reason))

    def flush(self) -> None:
        """Write what is waiting."""
        for name, rows in self._rows.items():
            with self.connection.cursor() as cursor, cursor.copy(_COPIES[name]) as copy:
                for row in rows:
                    copy.write_row(row)
            rows.clear()

    def _stage(self, resource: Read, head: Row) -> None:
        if isinstance(resource, Medication):
            coded = self.context.code(resource.code, "Medication")
            self._rows["medication"].append((*head, coded and coded.code, coded is not None and coded.is_known))
        elif isinstance(resource, Patient):
            self._stage_person(resource, head)
        else:
            self._stage_clinical(resource, head)

    def _stage_person(self, patient: Patient, head: Row) -> None:
        number = number_of(patient, self.identifier) if self.identifier is not None else None
        reason = "has a modifierExtension, which may turn its meaning round" if patient.modifierExtension else None
        facts = list(facts_of_person(patient, self.context))
        self._rows["patient"].append((*head, number, reason))
        for part, fact in enumerate(facts):
            fact.extra = {"fhir_id": patient.id}
            self._rows["event"].append(_event(head, part, patient.id, fact, reason))

    def _stage_clinical(self, resource: Clinical, head: Row) -> None:
        subject = resource.patient if isinstance(resource, Immunization) else resource.subject
        if subject is not None and not subject.reference:
            raise InputError("names nobody by a reference", column=f"{resource.resourceType}.subject")
        patient = self.context.target(subject, "Patient")
        reason = reason_against(resource, self.context) or (None if patient else "is not about a patient")
        facts = [] if reason else list(facts_of(resource, self.context))
        if not facts:
            facts, reason = [Fact()], reason or "has no code"
        self._rows["event"] += (_event(head, part, patient, fact, reason) for part, fact in enumerate(facts))


def _event(head: Row, part: int, patient: str | None, fact: Fact, reason: str | None) -> Row:
    code, detail = fact.code, fact.detail
    others = {"other_codes": list(code.others)} if code and code.others else {}
    extra = {name: value for name, value in (fact.extra | others).items() if value}
    return (
        *(*head, part, patient, fact.visit, fact.part_of, fact.start, fact.end),
        *(code and code.code, code is not None and code.is_known, detail and detail.code, fact.medication),
        *(fact.value.number, fact.value.text, fact.value.unit, fact.visit_class),
        *(json.dumps(extra, ensure_ascii=False) if extra else None, reason),
    )


def _updated(resource: Read) -> datetime | None:
    """When this version was written; None where that is not said, or not readable."""
    text = resource.meta.lastUpdated if resource.meta is not None else None
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None) if text else None
    except (ValueError, OverflowError):
        return None
