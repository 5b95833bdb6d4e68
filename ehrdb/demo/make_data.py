"""Turns Synthea's FHIR bundles into the demo's OMOP CDM tables; run once, by hand (see PROVENANCE.md).

python -m ehrdb.demo.make_data BUNDLES OUT
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Resource = dict[str, Any]

LOCAL_CONCEPTS = 2_000_000_000  # OMOP reserves ids from here on for a site's own concepts
MEASUREMENTS_SINCE = "2012"
VOCABULARIES = {
    "http://snomed.info/sct": "SNOMED",
    "http://loinc.org": "LOINC",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RxNorm",
    "http://hl7.org/fhir/sid/cvx": "CVX",
}
VISITS = {"IMP": 9201, "EMER": 9203}  # everything else is outpatient: 9202
SEXES = {"male": 8507, "female": 8532}
RACES = {"white": 8527, "black": 8516, "asian": 8515, "american indian": 8657, "native hawaiian": 8557}
KNOWN_CONCEPTS = [
    (9201, "Inpatient Visit", "Visit", "IP", "Visit"),
    (9202, "Outpatient Visit", "Visit", "OP", "Visit"),
    (9203, "Emergency Room Visit", "Visit", "ER", "Visit"),
    (8507, "MALE", "Gender", "M", "Gender"),
    (8532, "FEMALE", "Gender", "F", "Gender"),
    (8527, "White", "Race", "5", "Race"),
    (8516, "Black or African American", "Race", "3", "Race"),
    (8515, "Asian", "Race", "2", "Race"),
    (8657, "American Indian or Alaska Native", "Race", "1", "Race"),
    (8557, "Native Hawaiian or Other Pacific Islander", "Race", "4", "Race"),
    (38003563, "Hispanic or Latino", "Ethnicity", "Hispanic", "Ethnicity"),
    (38003564, "Not Hispanic or Latino", "Ethnicity", "Not Hispanic", "Ethnicity"),
]
# What an analyst would not call a clinical record: social surveys, reminders, paperwork, dental hygiene.
NOISE = re.compile(
    r"\((situation|person)\)|education|employment|stress|social|criminal|labor force|military|housing|transport"
    r"|intimate partner|violence|risk activity|homeless|insurance|medication reconciliation|referral|assessment"
    r"|screening|guidance|dental|teeth|gingiv|oral health|tooth|molars|caries|nursing care|care/|ancillary",
    re.IGNORECASE,
)

# Blood pressure comes twice, as a panel with components and as two results; the panel is left out as well.
SURVEY = re.compile(
    r"\?$|language|^race$|address|income|total score|fall risk|what number|narrative|in the past year",
    re.IGNORECASE,
)


class Tables:
    """OMOP rows collected from bundles; ids count up in the order of the files."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}
        self._concepts: dict[tuple[str, str], tuple[str, str]] = {}
        self._visits: dict[str, int] = {}

    def add(self, table: str, key: str, row: Row) -> int:
        """Append a row under the next id of its table."""
        rows = self.rows.setdefault(table, [])
        rows.append({key: len(rows) + 1, **row})
        return len(rows)

    def concept(self, codeable: Resource, domain: str) -> str:
        """Key of a concept, remembered; resolved to an id when everything has been read."""
        coding = codeable["coding"][0]
        vocabulary = VOCABULARIES[coding["system"]]
        name = re.sub(r" \([a-z /]+\)$", "", coding["display"])
        self._concepts.setdefault((vocabulary, coding["code"]), (name, domain))
        return f"{vocabulary}/{coding['code']}"

    def add_bundle(self, bundle: Resource) -> None:
        """One patient's bundle."""
        resources = [entry["resource"] for entry in bundle["entry"]]
        patient = next(r for r in resources if r["resourceType"] == "Patient")
        person_id = self.add("person", "person_id", _person(patient))
        if died := patient.get("deceasedDateTime"):
            self.rows.setdefault("death", []).append({"person_id": person_id, **_times("death", died)})
        for resource in sorted(resources, key=lambda r: r["resourceType"] != "Encounter"):
            if adder := getattr(self, f"_add_{resource['resourceType'].lower()}", None):
                adder(person_id, resource)

    def concept_ids(self) -> dict[str, int]:
        """Ids of the source's own concepts, by sorted code."""
        return {f"{v}/{c}": LOCAL_CONCEPTS + i for i, (v, c) in enumerate(sorted(self._concepts), 1)}

    def concept_rows(self) -> Iterator[Row]:
        """The concept table: the well-known ids and the source's own codes."""
        ids = self.concept_ids()
        own = [
            (ids[f"{vocabulary}/{code}"], name, domain, code, vocabulary)
            for (vocabulary, code), (name, domain) in sorted(self._concepts.items())
        ]
        known = [(i, name, domain, code, vocabulary) for i, name, vocabulary, code, domain in KNOWN_CONCEPTS]
        for concept_id, name, domain, code, vocabulary in sorted(known) + own:
            yield {
                "concept_id": concept_id,
                "concept_name": name,
                "domain_id": domain,
                "vocabulary_id": vocabulary,
                "standard_concept": "S",
                "concept_code": code,
            }

    def _add_encounter(self, person_id: int, resource: Resource) -> None:
        period = resource["period"]
        self._visits[resource["id"]] = self.add(
            "visit_occurrence",
            "visit_occurrence_id",
            {
                "person_id": person_id,
                "visit_concept_id": VISITS.get(resource["class"]["code"], 9202),
                **_times("visit_start", period["start"]),
                **_times("visit_end", period.get("end", period["start"])),
            },
        )

    def _add_condition(self, person_id: int, resource: Resource) -> None:
        if NOISE.search(resource["code"]["coding"][0]["display"]):
            return
        row = self._row(person_id, resource, "condition", "Condition")
        row |= _times("condition_start", resource["onsetDateTime"])
        row |= _times("condition_end", resource.get("abatementDateTime"))
        self.add("condition_occurrence", "condition_occurrence_id", row)

    def _add_procedure(self, person_id: int, resource: Resource) -> None:
        if NOISE.search(resource["code"]["coding"][0]["display"]):
            return
        time = resource.get("performedDateTime") or resource["performedPeriod"]["start"]
        row = self._row(person_id, resource, "procedure", "Procedure") | _times("procedure", time)
        self.add("procedure_occurrence", "procedure_occurrence_id", row)

    def _add_medicationrequest(self, person_id: int, resource: Resource) -> None:
        self._add_drug(person_id, resource, "medicationCodeableConcept", resource["authoredOn"])

    def _add_medicationadministration(self, person_id: int, resource: Resource) -> None:
        self._add_drug(person_id, resource, "medicationCodeableConcept", resource["effectiveDateTime"])

    def _add_immunization(self, person_id: int, resource: Resource) -> None:
        self._add_drug(person_id, resource, "vaccineCode", resource["occurrenceDateTime"])

    def _add_drug(self, person_id: int, resource: Resource, code: str, time: str) -> None:
        row = self._row(person_id, resource, "drug", "Drug", code) | _times("drug_exposure_start", time)
        self.add("drug_exposure", "drug_exposure_id", row)

    def _add_allergyintolerance(self, person_id: int, resource: Resource) -> None:
        row = self._row(person_id, resource, "observation", "Observation")
        row |= _times("observation", resource.get("recordedDate") or resource["onsetDateTime"])
        row["value_as_string"] = "allergy"
        self.add("observation", "observation_id", row)

    def _add_observation(self, person_id: int, resource: Resource) -> None:
        time = resource["effectiveDateTime"]
        if time < MEASUREMENTS_SINCE or "component" in resource or _is_survey(resource):
            return
        if value := _value(resource):
            row = self._row(person_id, resource, "measurement", "Measurement") | _times("measurement", time)
            self.add("measurement", "measurement_id", row | value)

    def _row(self, person_id: int, resource: Resource, prefix: str, domain: str, code: str = "code") -> Row:
        encounter = (resource.get("encounter") or resource.get("context") or {}).get("reference", "")
        return {
            "person_id": person_id,
            f"{prefix}_concept_id": self.concept(resource[code], domain),
            "visit_occurrence_id": self._visits.get(encounter.removeprefix("urn:uuid:")),
        }


def main(bundles: Path, out: Path) -> None:
    """Read every bundle below `bundles`, in name order, and write gzipped CSV tables to `out`."""
    tables = Tables()
    for path in sorted(bundles.rglob("*.json")):
        tables.add_bundle(json.loads(path.read_text(encoding="utf-8")))
    ids = tables.concept_ids()
    for rows in tables.rows.values():
        for row in rows:
            for column, value in row.items():
                if column.endswith("_concept_id") and isinstance(value, str):
                    row[column] = ids[value]
    tables.rows["concept"] = list(tables.concept_rows())
    for table, rows in tables.rows.items():
        write_table(out / f"{table}.csv.gz", rows)
        print(f"{table}: {len(rows)} rows")


def write_table(path: Path, rows: list[Row]) -> None:
    """Write gzipped CSV, the same bytes for the same rows."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def _person(patient: Resource) -> Row:
    born = datetime.fromisoformat(patient["birthDate"])
    texts = json.dumps(patient.get("extension", [])).lower()
    race = next((concept for name, concept in RACES.items() if name in texts), 0)
    return {
        "gender_concept_id": SEXES[patient["gender"]],
        "year_of_birth": born.year,
        "month_of_birth": born.month,
        "day_of_birth": born.day,
        "race_concept_id": race,
        "ethnicity_concept_id": 38003564 if "not hispanic" in texts else 38003563,
    }


def _times(prefix: str, time: str | None) -> Row:
    if time is None:
        return {f"{prefix}_date": None, f"{prefix}_datetime": None}
    return {f"{prefix}_date": time[:10], f"{prefix}_datetime": time[:19].replace("T", " ")}


def _value(part: Resource) -> Row | None:
    if quantity := part.get("valueQuantity"):
        unit = quantity.get("unit") or quantity.get("code")
        return {
            "value_as_number": round(float(quantity["value"]), 2),
            "unit_source_value": unit,
            "value_source_value": None,
        }
    if concept := part.get("valueCodeableConcept"):
        text = concept.get("text") or concept["coding"][0]["display"]
        return {
            "value_as_number": None,
            "unit_source_value": None,
            "value_source_value": re.sub(r" \([a-z /]+\)$", "", text),
        }
    return None


def _is_survey(resource: Resource) -> bool:
    name = resource["code"]["coding"][0]["display"]
    category = resource["category"][0]["coding"][0]["code"]
    return category == "survey" or bool(NOISE.search(name) or SURVEY.search(name))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
