"""What each resource says: events, in the one shape that all of them have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import singledispatch
from typing import Any

from pydantic import ValidationError

from ehrdb.errors import InputError
from ehrdb.events.fhir.codes import Coded, Vocabularies
from ehrdb.events.fhir.models import (
    MEDICATION,
    Clinical,
    CodeableConcept,
    Condition,
    DiagnosticReport,
    Encounter,
    Measured,
    MedicationAdministration,
    MedicationRequest,
    MedicationStatement,
    Observation,
    Period,
    Procedure,
    Reference,
)
from ehrdb.events.fhir.times import Clock, Span
from ehrdb.events.fhir.values import NOTHING, Value, names_of, value_of, written

STARTS = {
    "Encounter": ("period",),
    "Condition": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "MedicationRequest": ("authoredOn",),
    "MedicationAdministration": ("effectiveDateTime", "effectivePeriod"),
    "MedicationStatement": ("effectiveDateTime", "effectivePeriod", "dateAsserted"),
    "Immunization": ("occurrenceDateTime", "recorded"),
    "Observation": ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued"),
    "DiagnosticReport": ("effectiveDateTime", "effectivePeriod", "issued"),
}
"""Where a resource says when it began: the first that is there. Without any it began with its encounter."""
ENDS = {"Condition": ("abatementDateTime", "abatementPeriod")}
"""Where it says when it ended, if that is not the end of a period above."""
UNTRUE = ("entered-in-error", "refuted")
UNSURE = ("unconfirmed", "provisional", "differential")
NOT_DONE = ("not-done", "not-taken", "cancelled", "planned", "preparation", "draft", "intended", "registered")
"""Statuses of what did not happen, or not yet."""
_VISITS = {
    "inpatient": ("Visit/IP", "Inpatient Visit"),
    "emergency": ("Visit/ER", "Emergency Room Visit"),
    "outpatient": ("Visit/OP", "Outpatient Visit"),
}


@dataclass
class Fact:
    """An event. `medication`: id of the Medication whose code is its own; `detail`: its code where the visit that it is
    turns out to be a part of another (`part_of`)."""

    code: Coded | None = None
    start: datetime | None = None
    end: datetime | None = None
    visit: str | None = None
    value: Value = NOTHING
    extra: dict[str, Any] = field(default_factory=dict)
    medication: str | None = None
    visit_class: str | None = None
    part_of: str | None = None
    detail: Coded | None = None


@dataclass
class Context:
    """What resources are read by. `names`: what references in the bundle that is being read mean (Type/id)."""

    vocabularies: Vocabularies
    clock: Clock
    classes: Mapping[str, str]
    remarks: Counter[tuple[str, str]] = field(default_factory=Counter)
    names: Mapping[str, str] = field(default_factory=dict)

    def target(self, reference: Reference | None, kind: str) -> str | None:
        """The id of the resource of this kind that is referred to; None where it is of another kind."""
        text = reference.reference if reference is not None else None
        if not text:
            return None
        text = self.names.get(text, text)
        if text.startswith("urn:"):
            return text.rsplit(":", 1)[1]
        *_, found, identity = ["", *text.split("/_history/")[0].split("/")]
        return identity if found == kind and identity else None

    def span(self, text: str | None, field: str) -> Span | None:
        """A date or time; None for none."""
        return self.clock.span(text, field) if text else None

    def code(self, concept: CodeableConcept | None, resource: str) -> Coded | None:
        """The code of a concept that may not be there."""
        return self.vocabularies.chosen(concept, resource) if concept is not None else None

    def words(self, *concepts: CodeableConcept | None) -> str | None:
        """Concepts by their names."""
        return names_of([concept for concept in concepts if concept is not None], self.vocabularies)


def reason_against(resource: Clinical, context: Context) -> str | None:
    """Why a resource is no event; None where it is one."""
    status = getattr(resource, "status", None)
    if resource.modifierExtension:
        return "has a modifierExtension, which may turn its meaning round"
    if status in NOT_DONE or status in UNTRUE:
        return str(status)
    if isinstance(resource, Condition):
        return next((code for code in _verification(resource) if code in UNTRUE), None)
    if isinstance(resource, MedicationRequest):
        return _not_ordered(resource)
    return None


def _verification(resource: Condition) -> list[str | None]:
    status = resource.verificationStatus
    return [coding.code for coding in (status and status.coding) or ()]


def _not_ordered(resource: MedicationRequest) -> str | None:
    if resource.doNotPerform:
        return "doNotPerform"
    is_plan = resource.intent == "plan" and not resource.reportedBoolean
    return resource.intent if is_plan or resource.intent in ("proposal", "option") else None


@singledispatch
def facts_of(resource: Clinical, context: Context) -> Iterator[Fact]:
    """The events of a resource; none where it has no code. Raises InputError with the field that is not understood."""
    concept = getattr(resource, "vaccineCode", None) or getattr(resource, "code", None)
    code = context.code(concept, resource.resourceType)
    if code is not None:
        yield _fact(resource, context, code, extra=_extra(resource, context))


@facts_of.register(MedicationRequest)
@facts_of.register(MedicationAdministration)
@facts_of.register(MedicationStatement)
def _(resource: MedicationRequest | MedicationAdministration | MedicationStatement, context: Context) -> Iterator[Fact]:
    """The code of a Medication that stands elsewhere is looked up when all is read; until then there is its name."""
    name, reference = resource.resourceType, resource.medicationReference
    code = context.code(resource.medicationCodeableConcept, name) or context.code(_contained(resource), name)
    if code is not None:
        yield _fact(resource, context, code, extra=_extra(resource, context))
    elif reference is not None:
        shown = context.code(CodeableConcept(text=reference.display), name)
        elsewhere = context.target(reference, "Medication")
        if shown or elsewhere:
            yield _fact(resource, context, shown, extra=_extra(resource, context), medication=elsewhere)


def _contained(resource: MedicationRequest | MedicationAdministration | MedicationStatement) -> CodeableConcept | None:
    named = resource.medicationReference and resource.medicationReference.reference
    for inner in resource.contained or ():
        if named and isinstance(inner, dict) and f"#{inner.get('id')}" == named:
            try:
                return MEDICATION.validate_python(inner).code
            except ValidationError:
                raise InputError("cannot be read", column=f"{resource.resourceType}.contained") from None
    return None


@facts_of.register
def _(resource: Encounter, context: Context) -> Iterator[Fact]:
    visit_class = context.classes.get(resource.kind.code or "", "other")
    types = [*(resource.type or ()), *filter(None, (resource.serviceType,))]
    kinds = (context.code(kind, "Encounter") for kind in types)
    yield _fact(
        resource,
        context,
        _visit_code(resource, visit_class, context),
        visit_class=visit_class,
        extra={"type": context.words(*types), "reason": context.words(*(resource.reasonCode or ()))},
        part_of=context.target(resource.partOf, "Encounter"),
        detail=next(filter(None, kinds), None),
    )


def _visit_code(resource: Encounter, visit_class: str, context: Context) -> Coded:
    """Visits have the codes that they have in OMOP; one of another class is called by it (Visit/HH)."""
    word = (resource.kind.code or resource.kind.display or "").strip()
    code, name = _VISITS.get(visit_class, (f"Visit/{word}", f"{resource.kind.display or word} visit".capitalize()))
    if not word:
        raise InputError("is missing", column="Encounter.class.code")
    context.vocabularies.describe(code, name)
    return Coded(code, name)


@facts_of.register
def _(resource: Observation, context: Context) -> Iterator[Fact]:
    """The observation, where it has a value of its own or no components, and each of its components."""
    panel = context.code(resource.code, "Observation")
    value = value_of(resource, context.vocabularies)
    if panel is not None and (not resource.component or value != NOTHING):
        yield _measured(resource, resource, panel, value, context)
    for part in resource.component or ():
        code = context.code(part.code, "Observation")
        if code is None:
            context.remarks["Observation", "component without a code, left out"] += 1
        else:
            part_of = {"part_of": panel.code} if panel else {}
            yield _measured(resource, part, code, value_of(part, context.vocabularies), context, part_of)


def _measured(
    resource: Observation,
    measured: Measured,
    code: Coded,
    value: Value,
    context: Context,
    extra: dict[str, Any] | None = None,
) -> Fact:
    if measured.valueSampledData is not None:
        context.remarks["Observation", "series of numbers (SampledData), left out"] += 1
    interpretation = context.words(*(measured.interpretation or ()))
    is_said = interpretation is None or interpretation == value.text
    extra = (extra or {}) | ({} if is_said else {"interpretation": interpretation})
    return _fact(resource, context, code, value=value, extra=extra)


def _fact(resource: Clinical, context: Context, code: Coded | None, **more: Any) -> Fact:
    name, is_visit = resource.resourceType, isinstance(resource, Encounter)
    start = _span(resource, context, STARTS[name], "start")
    end = _span(resource, context, ENDS.get(name, STARTS[name]), "end")
    begins, ends = context.clock.moments(start, end, is_visit=is_visit)
    visit = getattr(resource, "encounter", None) or getattr(resource, "context", None)
    own = resource.id if is_visit else context.target(visit, "Encounter")
    return Fact(code, begins, ends, own, **more)


def _span(resource: Clinical, context: Context, names: tuple[str, ...], side: str) -> Span | None:
    """The first that is there; what is no period says of a start when it was, and of an end in ENDS."""
    for name in names:
        found = getattr(resource, name)
        field = f"{resource.resourceType}.{name}"
        if isinstance(found, Period):
            found, field = getattr(found, side), f"{field}.{side}"
        elif side == "end" and name in STARTS[resource.resourceType]:
            continue
        if found:
            return context.span(found, field)
    return None


def _extra(resource: Clinical, context: Context) -> dict[str, Any]:
    """What is said beside code and value."""
    if isinstance(resource, Condition):
        unsure = next((code for code in _verification(resource) if code in UNSURE), None)
        context.remarks["Condition", f"{unsure}, loaded"] += unsure is not None
        places = context.words(*(resource.bodySite or ()))
        return {"verification": unsure, "severity": context.words(resource.severity), "body_site": places}
    if isinstance(resource, Procedure):
        return {"body_site": context.words(*(resource.bodySite or ()))}
    if isinstance(resource, DiagnosticReport):
        return {"conclusion": context.words(*(resource.conclusionCode or ()))}
    if isinstance(resource, MedicationAdministration):
        return {"dose": written(resource.dosage.dose) if resource.dosage else None}
    return {}
