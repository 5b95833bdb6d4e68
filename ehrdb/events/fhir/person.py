"""A Patient's own facts: birth, demographics, death."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time

from ehrdb.errors import InputError
from ehrdb.events.fhir.codes import Coded
from ehrdb.events.fhir.facts import Context, Fact
from ehrdb.events.fhir.models import Coding, Extension, Patient
from ehrdb.events.fhir.times import Span

BIRTH, DEATH = "SNOMED/3950001", "SNOMED/419620001"
_BIRTH_TIME = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"
_US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
_SEXES = {"male": ("M", "MALE"), "female": ("F", "FEMALE"), "other": ("O", "OTHER")}
# OMOP's codes of the census' categories.
_RACES = {"1002-5": "1", "2028-9": "2", "2054-5": "3", "2076-8": "4", "2106-3": "5"}
_ETHNICITIES = {"2135-2": "Hispanic", "2186-5": "Not Hispanic"}


def facts_of_person(patient: Patient, context: Context) -> Iterator[Fact]:
    """Birth first, demographics at the end of that day (always known where there is none), death."""
    birth = _birth(patient, context)
    later = None
    if birth is not None:
        later, _ = context.clock.moments(_first_day(birth), None)
        yield _said(BIRTH, "Birth", birth.first, context)
    for code, name in _demographics(patient):
        yield _said(code, name, later, context)
    death = context.span(patient.deceasedDateTime, "Patient.deceasedDateTime")
    if death is not None:
        yield _said(DEATH, "Death", context.clock.moments(death, None)[0], context)
    elif patient.deceasedBoolean:
        context.remarks["Patient", "dead, without a time"] += 1


def number_of(patient: Patient, system: str) -> str:
    """The whole number by which an identifier's system knows a patient."""
    found = [identifier.value for identifier in patient.identifier or () if identifier.system == system]
    if not found or not (found[0] or "").strip().isdecimal():
        raise InputError("holds no whole number of the system of --identifier", column="Patient.identifier")
    return str(found[0]).strip()


def _said(code: str, name: str, moment: datetime | None, context: Context) -> Fact:
    context.vocabularies.describe(code, name)
    return Fact(Coded(code, name), moment)


def _birth(patient: Patient, context: Context) -> Span | None:
    """The date of birth, or the time where an extension says it."""
    beside = (patient.birth_date and patient.birth_date.extension) or ()
    exact = [extension.valueDateTime for extension in beside if extension.url == _BIRTH_TIME]
    return context.span(exact[0] if exact else patient.birthDate, "Patient.birthDate")


def _first_day(span: Span) -> Span:
    return span if span.is_exact else Span(span.first, datetime.combine(span.first, time(23, 59)))


def _demographics(patient: Patient) -> Iterator[tuple[str, str]]:
    """Races, sex and ethnicity, by the codes that OMOP has."""
    extensions = {extension.url: extension for extension in patient.extension or ()}
    for coding in _categories(extensions.get(f"{_US_CORE}race")):
        yield _demographic("Race", coding, _RACES)
    if patient.gender in _SEXES:
        code, name = _SEXES[patient.gender]
        yield f"Gender/{code}", name
    for coding in _categories(extensions.get(f"{_US_CORE}ethnicity")):
        yield _demographic("Ethnicity", coding, _ETHNICITIES)


def _categories(extension: Extension | None) -> Iterator[Coding]:
    for part in (extension and extension.extension) or ():
        if part.url == "ombCategory" and part.valueCoding is not None and part.valueCoding.code:
            yield part.valueCoding


def _demographic(kind: str, coding: Coding, known: dict[str, str]) -> tuple[str, str]:
    code = coding.code or ""
    return f"{kind}/{known.get(code, code)}", coding.display or code
