"""The parts of FHIR R4 that are read, and nothing else: what a resource holds beyond them is ignored.

Types are strict (a number in quotes is no number) and codes that FHIR binds are FHIR's own, so that a status that is
misspelt is refused instead of passing for any other. Validated by pydantic from the bytes, 20 times faster than by
complete models of all resources, which would also refuse a load for a fault in a narrative that nobody reads.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", populate_by_name=False, allow_inf_nan=False)


class Coding(_Part):
    """A code of a code system."""

    system: str | None = None
    code: str | None = None
    display: str | None = None


class CodeableConcept(_Part):
    """A concept: its codes in one or more systems, and its text."""

    coding: list[Coding] | None = None
    text: str | None = None


class Reference(_Part):
    """Another resource."""

    reference: str | None = None
    display: str | None = None


class Period(_Part):
    """From when until when."""

    start: str | None = None
    end: str | None = None


class Quantity(_Part):
    """A number with its unit; `comparator`: the true value lies below or above."""

    value: float | None = None
    comparator: Literal["<", "<=", ">=", ">"] | None = None
    unit: str | None = None
    system: str | None = None
    code: str | None = None


class Range(_Part):
    """Between two quantities."""

    low: Quantity | None = None
    high: Quantity | None = None


class Ratio(_Part):
    """One quantity to another (a titer 1:128)."""

    numerator: Quantity | None = None
    denominator: Quantity | None = None


class Extension(_Part):
    """What a profile adds: of races and ethnicities, and the time of birth."""

    url: str
    extension: list[Extension] | None = None
    valueCoding: Coding | None = None
    valueString: str | None = None
    valueDateTime: str | None = None


class Meta(_Part):
    """When this version of the resource was written."""

    lastUpdated: str | None = None


class Identifier(_Part):
    """A number by which a site knows a patient."""

    system: str | None = None
    value: str | None = None


class Resource(_Part):
    """What every resource has. `modifierExtension` may turn its meaning round."""

    id: str | None = None
    meta: Meta | None = None
    modifierExtension: list[Any] | None = None


class Patient(Resource):
    """A person."""

    resourceType: Literal["Patient"]
    identifier: list[Identifier] | None = None
    gender: Literal["male", "female", "other", "unknown"] | None = None
    birthDate: str | None = None
    birth_date: BirthDate | None = Field(None, alias="_birthDate")
    deceasedDateTime: str | None = None
    deceasedBoolean: bool | None = None
    extension: list[Extension] | None = None


class BirthDate(_Part):
    """What is said of the date of birth beside it: its time."""

    extension: list[Extension] | None = None


class Encounter(Resource):
    """A visit."""

    resourceType: Literal["Encounter"]
    status: Literal[
        "planned",
        "arrived",
        "triaged",
        "in-progress",
        "onleave",
        "finished",
        "cancelled",
        "entered-in-error",
        "unknown",
    ]
    kind: Coding = Field(alias="class")
    type: list[CodeableConcept] | None = None
    serviceType: CodeableConcept | None = None
    reasonCode: list[CodeableConcept] | None = None
    subject: Reference | None = None
    period: Period | None = None
    partOf: Reference | None = None


class Condition(Resource):
    """A diagnosis or a problem."""

    resourceType: Literal["Condition"]
    verificationStatus: CodeableConcept | None = None
    code: CodeableConcept | None = None
    severity: CodeableConcept | None = None
    bodySite: list[CodeableConcept] | None = None
    subject: Reference
    encounter: Reference | None = None
    onsetDateTime: str | None = None
    onsetPeriod: Period | None = None
    recordedDate: str | None = None
    abatementDateTime: str | None = None
    abatementPeriod: Period | None = None


class Procedure(Resource):
    """What was done."""

    resourceType: Literal["Procedure"]
    status: Literal[
        "preparation", "in-progress", "not-done", "on-hold", "stopped", "completed", "entered-in-error", "unknown"
    ]
    code: CodeableConcept | None = None
    bodySite: list[CodeableConcept] | None = None
    subject: Reference
    encounter: Reference | None = None
    performedDateTime: str | None = None
    performedPeriod: Period | None = None


class _Medicated(Resource):
    contained: list[Any] | None = None
    medicationCodeableConcept: CodeableConcept | None = None
    medicationReference: Reference | None = None
    subject: Reference


class MedicationRequest(_Medicated):
    """A prescription."""

    resourceType: Literal["MedicationRequest"]
    status: Literal["active", "on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft", "unknown"]
    intent: Literal[
        "proposal", "plan", "order", "original-order", "reflex-order", "filler-order", "instance-order", "option"
    ]
    reportedBoolean: bool | None = None
    doNotPerform: bool | None = None
    encounter: Reference | None = None
    authoredOn: str | None = None


class Dosage(_Part):
    """How much was given at once."""

    dose: Quantity | None = None


class MedicationAdministration(_Medicated):
    """A dose that was given."""

    resourceType: Literal["MedicationAdministration"]
    status: Literal["in-progress", "not-done", "on-hold", "completed", "entered-in-error", "stopped", "unknown"]
    context: Reference | None = None
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    dosage: Dosage | None = None


class MedicationStatement(_Medicated):
    """What a patient takes, by whomever it is said."""

    resourceType: Literal["MedicationStatement"]
    status: Literal["active", "completed", "entered-in-error", "intended", "stopped", "on-hold", "unknown", "not-taken"]
    context: Reference | None = None
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    dateAsserted: str | None = None


class Medication(Resource):
    """A medication that others refer to."""

    resourceType: Literal["Medication"]
    code: CodeableConcept | None = None


class Immunization(Resource):
    """A vaccination."""

    resourceType: Literal["Immunization"]
    status: Literal["completed", "entered-in-error", "not-done"]
    vaccineCode: CodeableConcept
    patient: Reference
    encounter: Reference | None = None
    occurrenceDateTime: str | None = None
    recorded: str | None = None


class Measured(_Part):
    """A code and its value, in any of FHIR's types."""

    code: CodeableConcept
    valueQuantity: Quantity | None = None
    valueCodeableConcept: CodeableConcept | None = None
    valueString: str | None = None
    valueBoolean: bool | None = None
    valueInteger: int | None = None
    valueRange: Range | None = None
    valueRatio: Ratio | None = None
    valueTime: str | None = None
    valueDateTime: str | None = None
    valuePeriod: Period | None = None
    valueSampledData: Any = None
    interpretation: list[CodeableConcept] | None = None


class Observation(Measured, Resource):
    """A measurement or a finding, with components where it has several values (blood pressure)."""

    resourceType: Literal["Observation"]
    status: Literal[
        "registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown"
    ]
    subject: Reference | None = None
    encounter: Reference | None = None
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    effectiveInstant: str | None = None
    issued: str | None = None
    component: list[Measured] | None = None


class DiagnosticReport(Resource):
    """A report about one or more observations."""

    resourceType: Literal["DiagnosticReport"]
    status: Literal[
        "registered",
        "partial",
        "preliminary",
        "final",
        "amended",
        "corrected",
        "appended",
        "cancelled",
        "entered-in-error",
        "unknown",
    ]
    code: CodeableConcept
    subject: Reference | None = None
    encounter: Reference | None = None
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    issued: str | None = None
    conclusionCode: list[CodeableConcept] | None = None


class Request(_Part):
    """What a server is asked to do with an entry."""

    method: str | None = None


class Entry(_Part):
    """A resource in a bundle."""

    fullUrl: str | None = None
    resource: Any = None
    request: Request | None = None


class Bundle(_Part):
    """Resources in one file."""

    resourceType: Literal["Bundle"]
    entry: list[Entry] | None = None


Clinical = (
    Encounter
    | Condition
    | Procedure
    | MedicationRequest
    | MedicationAdministration
    | MedicationStatement
    | Immunization
    | Observation
    | DiagnosticReport
)
Read = Patient | Medication | Clinical
RESOURCES: TypeAdapter[Read | Bundle] = TypeAdapter(Annotated[Read | Bundle, Field(discriminator="resourceType")])
"""Whatever is read, by its resourceType."""
MEDICATION = TypeAdapter(Medication)
