"""FHIR resources for tests, as a server would write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Resource = dict[str, Any]
SYSTEMS = {
    "SNOMED": "http://snomed.info/sct",
    "LOINC": "http://loinc.org",
    "RxNorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "CVX": "http://hl7.org/fhir/sid/cvx",
    "ICD10CM": "http://hl7.org/fhir/sid/icd-10-cm",
}


def concept(*codes: str, text: str | None = None) -> Resource:
    """A CodeableConcept of VOCABULARY/CODE|display."""
    codings = []
    for code in codes:
        vocabulary, rest = code.split("/", 1)
        bare, _, display = rest.partition("|")
        codings.append(
            {"system": SYSTEMS.get(vocabulary, vocabulary), "code": bare, "display": display or f"text of {bare}"}
        )
    return {"coding": codings} | ({"text": text} if text else {})


def patient(number: str = "p1", **more: Any) -> Resource:
    return {"resourceType": "Patient", "id": number, "gender": "female", "birthDate": "1950-05-01", **more}


def encounter(number: str = "e1", kind: str = "AMB", start: str = "2020-01-10T08:00:00-05:00", **more: Any) -> Resource:
    return {
        **{"resourceType": "Encounter", "id": number, "status": "finished", "class": {"code": kind}},
        **{"subject": {"reference": "Patient/p1"}, "period": {"start": start, "end": "2020-01-14T10:00:00-05:00"}},
        **more,
    }


def condition(number: str = "c1", code: str = "SNOMED/38341003|Hypertension", **more: Any) -> Resource:
    return {
        **{"resourceType": "Condition", "id": number, "code": concept(code), "subject": {"reference": "Patient/p1"}},
        **{"onsetDateTime": "2020-01-11T09:00:00-05:00", **more},
    }


def observation(number: str = "o1", **more: Any) -> Resource:
    return {
        **{"resourceType": "Observation", "id": number, "status": "final", "code": concept("LOINC/718-7|Hemoglobin")},
        **{"subject": {"reference": "Patient/p1"}, "effectiveDateTime": "2020-01-12T09:00:00-05:00", **more},
    }


def medication(kind: str = "MedicationRequest", number: str = "m1", **more: Any) -> Resource:
    when = {"MedicationRequest": "authoredOn", "Immunization": "occurrenceDateTime"}.get(kind, "effectiveDateTime")
    intent = {"intent": "order"} if kind == "MedicationRequest" else {}
    return {
        **{"resourceType": kind, "id": number, "status": "completed", "subject": {"reference": "Patient/p1"}, **intent},
        **{"medicationCodeableConcept": concept("RxNorm/1191|aspirin"), when: "2020-01-12T10:00:00-05:00", **more},
    }


def quantity(value: float, unit: str = "g/dL", **more: Any) -> Resource:
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit, **more}


def export(folder: Path, *resources: Resource, suffix: str = ".ndjson") -> Path:
    """A folder of Bulk Data: a file for each type, in the place of what was there."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for kind in dict.fromkeys(resource["resourceType"] for resource in resources):
        lines = [json.dumps(resource) for resource in resources if resource["resourceType"] == kind]
        (folder / f"{kind}{suffix}").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return folder


def bundle(folder: Path, *resources: Resource) -> Path:
    """A folder with one transaction in it, whose references are urn:uuid: as in Synthea's."""
    folder.mkdir(exist_ok=True)
    names = {f"{resource['resourceType']}/{resource['id']}": f"urn:uuid:{resource['id']}" for resource in resources}
    entries = [{"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource} for resource in resources]
    text = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}, indent=1)
    for name, urn in names.items():
        text = text.replace(f'"reference": "{name}"', f'"reference": "{urn}"')
    (folder / "bundle.json").write_text(text, encoding="utf-8")
    return folder
