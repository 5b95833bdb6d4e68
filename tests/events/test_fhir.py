"""FHIR R4 as servers export it: every record once, nothing that did not happen, and no word of it in a message."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehrdb.database import Database
from ehrdb.errors import InputError
from ehrdb.events import LoadResult
from ehrdb.events.fhir import FhirOptions, load_fhir
from ehrdb.events.fhir.times import Clock
from tests.events.fhir import (
    Resource,
    bundle,
    concept,
    condition,
    encounter,
    export,
    medication,
    observation,
    patient,
    quantity,
)


def ask(database: Database, question: str) -> Any:
    with database.transaction() as connection:
        row = connection.execute(question.encode()).fetchone()
        assert row is not None
        return row[0] if len(row) == 1 else row


def events(database: Database, columns: str = "code", where: str = "source_table <> 'Patient'") -> list[Any]:
    question = f"select {columns} from ehr.event where {where} order by ordinal"  # noqa: S608
    with database.transaction() as connection:
        rows = connection.execute(question.encode()).fetchall()
    return [row[0] if len(row) == 1 else row for row in rows]


def reasons(result: LoadResult, kind: str) -> dict[str, int]:
    return next(table.reasons for table in result.tables if table.source_table == kind)


RECORD: tuple[Resource, ...] = (
    *(
        patient(deceasedDateTime="2021-03-01"),
        encounter(kind="IMP"),
        condition(encounter={"reference": "Encounter/e1"}),
    ),
    *(observation(valueQuantity=quantity(13.5)), medication(), medication("MedicationAdministration", "m2")),
    medication("MedicationStatement", "m3"),
    {
        **{
            "resourceType": "Procedure",
            "id": "r1",
            "status": "completed",
            "code": concept("SNOMED/80146002|Appendectomy"),
        },
        **{"subject": {"reference": "Patient/p1"}, "performedDateTime": "2020-01-11T12:00:00-05:00"},
    },
    {
        **{"resourceType": "Immunization", "id": "i1", "status": "completed", "vaccineCode": concept("CVX/10|IPV")},
        **{"patient": {"reference": "Patient/p1"}, "occurrenceDateTime": "2020-01-12T11:00:00-05:00"},
    },
    {
        **{
            "resourceType": "DiagnosticReport",
            "id": "d1",
            "status": "final",
            "code": concept("LOINC/58410-2|CBC panel"),
        },
        **{"subject": {"reference": "Patient/p1"}, "effectiveDateTime": "2020-01-12T12:00:00-05:00"},
    },
)


def test_every_type_of_resource_becomes_events(database: Database, tmp_path: Path) -> None:
    result = load_fhir(database, export(tmp_path / "x", *RECORD))
    assert events(database, "code, source_table", "true") == [
        *(("SNOMED/3950001", "Patient"), ("Gender/F", "Patient"), ("Visit/IP", "Encounter")),
        *(("SNOMED/38341003", "Condition"), ("SNOMED/80146002", "Procedure"), ("LOINC/718-7", "Observation")),
        *(("RxNorm/1191", "MedicationRequest"), ("RxNorm/1191", "MedicationAdministration")),
        *(("RxNorm/1191", "MedicationStatement"), ("CVX/10", "Immunization"), ("LOINC/58410-2", "DiagnosticReport")),
        ("SNOMED/419620001", "Patient"),
    ]
    assert [(t.source_table, t.rows_read, t.rows_loaded) for t in result.tables if t.rows_read == 1] == [
        (kind, 1, 1) for kind in sorted(resource["resourceType"] for resource in RECORD)
    ]


def test_a_patient_has_birth_death_and_demographics(database: Database, tmp_path: Path) -> None:
    def extension(kind: str, code: str, display: str) -> Resource:
        url = f"http://hl7.org/fhir/us/core/StructureDefinition/us-core-{kind}"
        return {"url": url, "extension": [{"url": "ombCategory", "valueCoding": {"code": code, "display": display}}]}

    extensions = [extension("race", "2106-3", "White"), extension("ethnicity", "2186-5", "Not Hispanic or Latino")]
    load_fhir(database, export(tmp_path / "x", patient(extension=extensions, deceasedDateTime="2021-03-01")))
    row = "select birth_time::text, death_time::text, sex, race, ethnicity from ehr.patient"
    assert ask(database, row) == (
        *("1950-05-01 00:00:00", "2021-03-01 23:59:00", "F", "White", "Not Hispanic or Latino"),
    )
    assert events(database, "code", "source_table = 'Patient'") == [
        *("SNOMED/3950001", "Race/5", "Gender/F", "Ethnicity/Not Hispanic", "SNOMED/419620001"),
    ]


def test_a_patient_without_any_fact_is_a_patient(database: Database, tmp_path: Path) -> None:
    load_fhir(database, export(tmp_path / "x", {"resourceType": "Patient", "id": "p1"}))
    assert ask(database, "select count(*) from ehr.patient") == 1


def test_a_death_without_a_time_is_counted(database: Database, tmp_path: Path) -> None:
    result = load_fhir(database, export(tmp_path / "x", patient(deceasedBoolean=True)))
    assert reasons(result, "Patient") == {"dead, without a time": 1}


def test_ids_are_found_again(database: Database, tmp_path: Path) -> None:
    load_fhir(
        database, export(tmp_path / "x", patient(), patient("123456789012345678"), patient("1234567890123456789"))
    )
    ids = "select array_agg(patient_id order by patient_id) from ehr.patient"
    wanted = "select array[ehr.fhir_patient('123456789012345678'), least(a, b), greatest(a, b)]"
    wanted += " from (select ehr.fhir_patient('p1') a, ehr.fhir_patient('1234567890123456789') b) f"
    assert ask(database, ids) == ask(database, wanted)
    assert ask(database, ids)[0] == 123456789012345678 < 2**62 <= ask(database, ids)[1]


def test_nobodys_number_is_asked_in_vain(database: Database) -> None:
    with pytest.raises(psycopg.Error) as error:
        ask(database, "select ehr.fhir_patient(null)")
    assert error.value.sqlstate == "EH010"


def test_an_identifier_may_be_the_patients_number(database: Database, tmp_path: Path) -> None:
    known = patient(identifier=[{"system": "urn:other", "value": "7"}, {"system": "urn:mrn", "value": "10007795"}])
    load_fhir(database, export(tmp_path / "x", known), FhirOptions(identifier="urn:mrn"))
    assert ask(database, "select patient_id from ehr.patient") == 10007795
    with pytest.raises(InputError, match=r"row 1, column Patient.identifier: holds no whole number"):
        load_fhir(database, tmp_path / "x", FhirOptions(identifier="urn:nobody"))


def test_bundles_and_bulk_data_of_one_record_are_the_same(database: Database, tmp_path: Path) -> None:
    assert load_fhir(database, export(tmp_path / "bulk", *RECORD)).new == 1
    result = load_fhir(database, bundle(tmp_path / "bundles", *RECORD))
    assert (result.unchanged, result.anything_changed) == (1, False)


def test_an_entry_without_an_id_has_that_of_its_url(database: Database, tmp_path: Path) -> None:
    folder = bundle(tmp_path / "x", patient(), condition())
    file = folder / "bundle.json"
    file.write_text(file.read_text().replace('"id": "c1",', "").replace('"id": "p1",', ""))
    load_fhir(database, folder)
    assert ask(database, "select patient_id = ehr.fhir_patient('p1') from ehr.patient")


def test_the_order_of_lines_and_files_does_not_matter(database: Database, tmp_path: Path) -> None:
    several = [observation(f"o{n}", valueQuantity=quantity(n)) for n in range(20)]
    load_fhir(database, export(tmp_path / "x", *RECORD[:3], *several))
    folder = export(tmp_path / "x", *RECORD[:3], *reversed(several))
    (folder / "Patient.ndjson").rename(folder / "zz.ndjson")
    assert not load_fhir(database, folder).anything_changed


def test_what_is_withdrawn_or_absent_leaves_and_the_others_stay(database: Database, tmp_path: Path) -> None:
    others = [patient("p2"), condition("c9", subject={"reference": "Patient/p2"}), patient("p3")]
    load_fhir(database, export(tmp_path / "x", patient(), condition(), condition("c2"), *others))
    void = condition("c2", verificationStatus=concept("s/entered-in-error"))
    result = load_fhir(database, export(tmp_path / "x", patient(), condition(), void, *others[:2]))
    assert (result.changed, result.unchanged, result.removed) == (1, 1, 1)
    assert len(events(database)) == 2
    assert reasons(result, "Condition") == {"entered-in-error": 1}


NO_EVENTS = [
    (observation(status="entered-in-error"), "entered-in-error"),
    (observation(status="cancelled"), "cancelled"),
    (observation(status="registered"), "registered"),
    (condition(verificationStatus=concept("s/refuted")), "refuted"),
    (encounter(status="planned"), "planned"),
    (medication(status="draft"), "draft"),
    (medication(intent="proposal"), "proposal"),
    (medication(intent="plan"), "plan"),
    (medication(doNotPerform=True), "doNotPerform"),
    (medication("MedicationAdministration", status="not-done"), "not-done"),
    (medication("MedicationStatement", status="not-taken"), "not-taken"),
    (condition(modifierExtension=[{"url": "x"}]), "has a modifierExtension, which may turn its meaning round"),
    (observation(subject={"reference": "Group/1"}), "is not about a patient"),
    (condition() | {"code": None}, "has no code"),
    (condition(onsetDateTime=None), "has no date or time"),
]


def test_what_did_not_happen_is_left_out_and_counted(database: Database, tmp_path: Path) -> None:
    resources = [resource | {"id": f"x{number}"} for number, (resource, _) in enumerate(NO_EVENTS)]
    result = load_fhir(database, export(tmp_path / "x", patient(), *resources))
    assert events(database) == []
    found = {(table.source_table, reason) for table in result.tables for reason in table.reasons}
    assert found == {(resource["resourceType"], reason) for resource, reason in NO_EVENTS}
    counts = [
        (t.rows_loaded, t.rows_rejected - t.rows_read)
        for t in result.tables
        if t.kind == "table" and t.source_table not in ("Patient", "all events")
    ]
    assert set(counts) == {(0, 0)}


def test_what_is_reported_by_the_patient_may_be_a_plan(database: Database, tmp_path: Path) -> None:
    load_fhir(database, export(tmp_path / "x", patient(), medication(intent="plan", reportedBoolean=True)))
    assert events(database) == ["RxNorm/1191"]


VALUES: list[tuple[Resource, float | None, str | None, str | None]] = [
    ({"valueQuantity": quantity(13.5)}, 13.5, None, "g/dL"),
    ({"valueQuantity": {"value": 7, "unit": "mg per dL"}}, 7.0, None, "mg per dL"),
    ({"valueQuantity": {**quantity(7, "mg"), "unit": "milligrams"}}, 7.0, None, "mg"),
    ({"valueQuantity": quantity(5.0, comparator="<")}, None, "<5", "g/dL"),
    ({"valueQuantity": quantity(0.25, comparator=">=")}, None, ">=0.25", "g/dL"),
    ({"valueQuantity": {"unit": "mg"}}, None, None, None),
    ({"valueInteger": 3}, 3.0, None, None),
    ({"valueBoolean": False}, None, "false", None),
    ({"valueString": "yellow"}, None, "yellow", None),
    ({"valueCodeableConcept": concept("SNOMED/10828004|Positive", text="pos")}, None, "Positive", None),
    ({"valueCodeableConcept": {"text": "pos"}}, None, "pos", None),
    ({"valueRange": {"low": quantity(1), "high": quantity(3)}}, None, "1-3", "g/dL"),
    ({"valueRange": {"high": quantity(3)}}, None, "<=3", "g/dL"),
    ({"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 128}}}, None, "1:128", None),
    ({"valueTime": "08:30:00"}, None, "08:30:00", None),
    ({"valueDateTime": "2020-01-01"}, None, "2020-01-01", None),
    ({"interpretation": [concept("x/POS|Positive")]}, None, "Positive", None),
    ({"valueQuantity": quantity(1e300)}, float("inf"), None, "g/dL"),
    ({"valueQuantity": quantity(1e-300)}, 0.0, None, "g/dL"),
]


def test_values_keep_their_number_unit_comparator_or_text(database: Database, tmp_path: Path) -> None:
    resources = [observation(f"o{number:02}", **value) for number, (value, *_) in enumerate(VALUES)]
    load_fhir(database, export(tmp_path / "x", patient(), *resources))
    assert events(database, "numeric_value, text_value, unit") == [tuple(wanted) for _, *wanted in VALUES]


def test_each_component_is_an_event(database: Database, tmp_path: Path) -> None:
    parts = [
        {"code": concept("LOINC/8480-6|Systolic"), "valueQuantity": quantity(120, "mm[Hg]")},
        {"code": concept("LOINC/8462-4|Diastolic"), "valueQuantity": quantity(80, "mm[Hg]")},
    ]
    panel = observation(code=concept("LOINC/85354-9|Blood pressure"), component=parts)
    result = load_fhir(
        database, export(tmp_path / "x", patient(), panel, observation("o2", component=parts, valueInteger=1))
    )
    assert events(database, "code, numeric_value") == [
        *(("LOINC/8480-6", 120), ("LOINC/8462-4", 80), ("LOINC/718-7", 1), ("LOINC/8480-6", 120), ("LOINC/8462-4", 80)),
    ]
    assert reasons(result, "Observation") == {"values of components": 4}


def test_what_is_said_beside_the_value_is_kept(database: Database, tmp_path: Path) -> None:
    load_fhir(
        database,
        export(
            tmp_path / "x",
            patient(),
            observation(valueQuantity=quantity(9), interpretation=[concept("x/L|Low")]),
            condition(severity=concept("SNOMED/24484000|Severe"), verificationStatus=concept("s/provisional")),
        ),
    )
    found = "select jsonb_agg(extra order by source_table) from ehrdb.event where source_table <> 'Patient'"
    assert ask(database, found) == [{"severity": "Severe", "verification": "provisional"}, {"interpretation": "Low"}]


CODES: list[tuple[Resource, str]] = [
    (concept("ICD10CM/I10", "SNOMED/38341003"), "SNOMED/38341003"),
    (concept("http://hospital.example/codes/4711", "ICD10CM/I10"), "ICD10CM/I10"),
    ({"coding": [{"system": "urn:oid:2.16.840.1.113883.6.103", "code": "401.9"}]}, "ICD9CM/401.9"),
    ({"coding": [{"system": "http://hospital.example/fhir/ward-codes", "code": "7"}]}, "ward-codes/7"),
    ({"coding": [{"code": "7"}]}, "FHIR/Condition:7"),
    ({"text": "feeling unwell"}, "FHIR/Condition:feeling unwell"),
]


def test_codes_have_the_names_of_vocabularies(database: Database, tmp_path: Path) -> None:
    resources = [condition(f"c{number}") | {"code": code} for number, (code, _) in enumerate(CODES)]
    result = load_fhir(database, export(tmp_path / "x", patient(), *resources))
    assert events(database) == [wanted for _, wanted in CODES]
    assert next(t for t in result.tables if t.source_table == "Condition").rows_unmapped == 3


def test_other_codes_of_a_concept_are_kept_and_the_order_may_be_chosen(database: Database, tmp_path: Path) -> None:
    both = condition() | {"code": concept("ICD10CM/I10", "SNOMED/38341003")}
    result = load_fhir(database, export(tmp_path / "x", patient(), both), FhirOptions(code_order=("ICD10CM",)))
    found = (
        "select c.code, e.extra from ehrdb.event e join ehrdb.concept c using (code_id) where e.extra ? 'other_codes'"
    )
    assert ask(database, found) == ("ICD10CM/I10", {"other_codes": ["SNOMED/38341003"]})
    assert reasons(result, "Condition") == {"has further codes, kept aside": 1}


def test_two_code_systems_never_share_a_name(database: Database, tmp_path: Path) -> None:
    first, second = (
        {"coding": [{"system": f"http://{host}/codes", "code": "1"}]} for host in ("a.example", "b.example")
    )
    folder = export(tmp_path / "x", patient(), condition() | {"code": first}, condition("c2") | {"code": second})
    with pytest.raises(
        InputError, match=r"Condition.ndjson, row 2: the code systems http://a.example/codes and"
    ) as error:
        load_fhir(database, folder)
    assert error.value.hint == "Name one of them: --system http://b.example/codes=NAME"
    load_fhir(database, folder, FhirOptions(systems=("http://b.example/codes=WARD",)))
    assert events(database) == ["codes/1", "WARD/1"]


def test_a_code_has_its_most_frequent_description(database: Database, tmp_path: Path) -> None:
    codes = ("SNOMED/1|rare", "SNOMED/1|often", "SNOMED/1|often")
    load_fhir(database, export(tmp_path / "x", patient(), *(condition(f"c{n}", code) for n, code in enumerate(codes))))
    assert set(events(database, "description")) == {"often"}


def test_encounters_are_visits(database: Database, tmp_path: Path) -> None:
    kinds = ("AMB", "IMP", "ACUTE", "EMER", "HH")
    load_fhir(database, export(tmp_path / "x", patient(), *(encounter(f"e{kind}", kind) for kind in kinds)))
    visits = "select array_agg(concat_ws(' ', visit_id, visit_class, code) order by visit_id) from ehr.visit"
    assert ask(database, visits) == [
        *("eACUTE inpatient Visit/IP", "eAMB outpatient Visit/OP", "eEMER emergency Visit/ER", "eHH other Visit/HH"),
        "eIMP inpatient Visit/IP",
    ]
    times = "select start_time::text, end_time::text from ehr.visit group by 1, 2"
    assert ask(database, times) == ("2020-01-10 08:00:00", "2020-01-14 10:00:00")


def test_a_part_of_a_stay_is_no_stay_of_its_own(database: Database, tmp_path: Path) -> None:
    ward = encounter(
        "e2", "IMP", partOf={"reference": "Encounter/e1"}, type=[concept("SNOMED/309904001|Intensive care")]
    )
    bed = encounter("e3", "IMP", partOf={"reference": "Encounter/e2"})
    there = condition(encounter={"reference": "Encounter/e3"})
    result = load_fhir(database, export(tmp_path / "x", patient(), encounter(kind="IMP"), ward, bed, there))
    assert ask(database, "select count(*) from ehr.visit") == 1
    assert events(database, "code, visit_id") == [
        *(("Visit/IP", "e1"), ("SNOMED/309904001", "e1"), ("SNOMED/38341003", "e1")),
    ]
    assert reasons(result, "Encounter") == {
        **{"part of another encounter, without a type": 1, "detail of another encounter": 1},
    }


def test_what_has_no_time_has_that_of_its_encounter(database: Database, tmp_path: Path) -> None:
    there = condition(onsetDateTime=None, encounter={"reference": "Encounter/e1"})
    load_fhir(database, export(tmp_path / "x", patient(), encounter(), there))
    assert events(database, "time::text", "source_table = 'Condition'") == ["2020-01-10 08:00:00"]


def test_visits_that_are_not_there_are_counted(database: Database, tmp_path: Path) -> None:
    result = load_fhir(database, export(tmp_path / "x", patient(), condition(encounter={"reference": "Encounter/e9"})))
    assert events(database, "visit_id") == ["e9"]
    assert reasons(result, "Condition") == {"names a visit that is not there": 1}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        *(("2020", "2020-12-31T23:59:00"), ("2020-02", "2020-02-29T23:59:00"), ("2020-02-03", "2020-02-03T23:59:00")),
        ("2020-02-03T04:05:06+01:00", "2020-02-03T04:05:06"),
        ("2020-02-03T04:05:06.7891Z", "2020-02-03T04:05:06.789100"),
    ],
)
def test_a_partial_date_is_its_last_minute(text: str, time: str) -> None:
    clock = Clock()
    begins, _ = clock.moments(clock.span(text, "onset"), None)
    assert begins == datetime.fromisoformat(time)


def test_a_partial_date_may_be_its_first_minute(database: Database, tmp_path: Path) -> None:
    folder = export(tmp_path / "x", patient(birthDate="1950-05"), condition(onsetDateTime="2020"))
    load_fhir(database, folder, FhirOptions(date_only="as_is"))
    assert events(database, "time::text", "true") == ["1950-05-01 00:00:00"] * 2 + ["2020-01-01 00:00:00"]


def test_the_time_of_birth_is_taken_where_it_is_known(database: Database, tmp_path: Path) -> None:
    url = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"
    born = {"extension": [{"url": url, "valueDateTime": "1950-05-01T10:15:00-05:00"}]}
    load_fhir(database, export(tmp_path / "x", patient(_birthDate=born)))
    assert events(database, "time::text", "true") == ["1950-05-01 10:15:00"] * 2


DATES = st.dates(datetime(1900, 1, 2).date(), datetime(2100, 1, 1).date())
FORMS = st.sampled_from(("%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT14:30:00+01:00"))


@given(
    start=DATES, days=st.integers(0, 800), forms=st.tuples(FORMS, FORMS), end_of_day=st.booleans(), visit=st.booleans()
)
def test_no_partial_date_turns_a_period_round(
    start: datetime, days: int, forms: tuple[str, str], end_of_day: bool, visit: bool
) -> None:
    clock = Clock(end_of_day=end_of_day)
    texts = [moment.strftime(form) for moment, form in zip((start, start + timedelta(days)), forms, strict=True)]
    spans = [clock.span(text, "period") for text in texts]
    begins, ends = clock.moments(*spans, is_visit=visit)
    assert begins is not None
    assert ends is not None
    assert begins <= ends
    assert spans[0].first <= begins <= spans[0].last
    assert spans[1].first <= ends <= spans[1].last


@pytest.mark.parametrize(
    "text",
    ["2020-13-01", "2020-02-30", "20200101", "01.02.2020", "2020-1-1", "2020-01-01T25:00:00Z", " 2020", "２０２０"],
)
def test_impossible_dates_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"column Condition.onset: is no date or time of FHIR, or impossible"):
        Clock().span(text, "Condition.onset")


def test_times_are_turned_into_the_patients_clock(database: Database, tmp_path: Path) -> None:
    folder = export(
        tmp_path / "x",
        patient(),
        condition(onsetDateTime="2020-07-01T12:00:00Z"),
        condition("c2", onsetDateTime="2020-07-01T12:00:00-04:00"),
    )
    with pytest.raises(InputError, match="holds 1 times in UTC and 1 with an offset") as error:
        load_fhir(database, folder)
    assert "--time-zone" in str(error.value.hint)
    load_fhir(database, folder, FhirOptions(time_zone="America/New_York"))
    assert events(database, "time::text") == ["2020-07-01 08:00:00", "2020-07-01 12:00:00"]


def test_references_are_resolved(database: Database, tmp_path: Path) -> None:
    names = [
        "Patient/p1",
        "https://server.example/fhir/Patient/p1",
        "Patient/p1/_history/3",
        "https://s.example/Patient/p1",
    ]
    resources = (condition(f"c{number}", subject={"reference": name}) for number, name in enumerate(names))
    load_fhir(database, export(tmp_path / "x", patient(), *resources))
    assert events(database) == ["SNOMED/38341003"] * 4


def test_medications_stand_elsewhere_inside_or_have_but_a_name(database: Database, tmp_path: Path) -> None:
    def referring(number: str, **more: Any) -> Resource:
        bare = medication(number=number, **more)
        return {name: value for name, value in bare.items() if name != "medicationCodeableConcept"}

    drug = {"resourceType": "Medication", "id": "x", "code": concept("RxNorm/2|elsewhere")}
    folder = export(
        tmp_path / "x",
        *(patient(), drug, referring("m1", medicationReference={"reference": "Medication/x", "display": "name"})),
        referring(
            "m2", contained=[{**drug, "code": concept("RxNorm/3|inside")}], medicationReference={"reference": "#x"}
        ),
        referring("m3", medicationReference={"display": "only a name"}),
        referring("m4", medicationReference={"reference": "Medication/gone", "display": "lost"}),
    )
    load_fhir(database, folder)
    names = ["FHIR/MedicationRequest:only a name", "FHIR/MedicationRequest:lost"]
    assert events(database) == ["RxNorm/2", "RxNorm/3", *names]
    export(folder, patient(), referring("m5", medicationReference={"reference": "Medication/gone"}))
    with pytest.raises(
        InputError, match=r"row 1, column MedicationRequest.medicationReference: is no Medication of the"
    ):
        load_fhir(database, folder)


FAULTS: list[tuple[Resource, str]] = [
    (condition(subject={"reference": "Patient/secret-name"}), "Condition.subject: is no patient of the source"),
    (condition(subject={"display": "secret-name"}), "Condition.subject: names nobody by a reference"),
    (condition(subject=None), "Condition.subject: is no object"),
    (observation(status="secret-name"), "Observation.status: is none of the codes that FHIR has for it"),
    (observation(valueQuantity={"value": "secret-name"}), "Observation.valueQuantity.value: is no number"),
    (
        observation(valueQuantity={"value": 1, "comparator": "secret-name"}),
        "Observation.valueQuantity.comparator: is none",
    ),
    (observation(code={"text": ["secret-name"]}), "Observation.code.text: is no text"),
    (observation(component=[{"valueString": "secret-name"}]), "Observation.component.0.code: is missing"),
    (observation(effectiveDateTime="secret-name"), "Observation.effectiveDateTime: is no date or time of FHIR"),
    (observation(valueString="secret-name\x00"), "Observation: holds a zero byte"),
    (observation(valueString="secret-name") | {"id": None}, "Observation.id: is missing"),
    (observation(code={"text": "secret-name" * 300}), "Observation.code: is longer than 2000 bytes"),
    (patient("p2", birthDate="secret-name"), "Patient.birthDate: is no date or time of FHIR"),
    (encounter(period={"start": "secret-name"}), "Encounter.period.start: is no date or time of FHIR"),
    ({"secret-name": 1}, "has no resourceType"),
]


def test_a_refusal_names_file_line_and_field_and_shows_no_text(database: Database, tmp_path: Path) -> None:
    file = export(tmp_path / "x", patient()) / "a.ndjson"
    for resource, place in FAULTS:
        file.write_text("\n" + json.dumps(patient("p9")) + "\n" + json.dumps(resource) + "\n")
        with pytest.raises(InputError) as error:
            load_fhir(database, file.parent)
        assert str(error.value).startswith(f"{file}, row 3")
        assert place in str(error.value)
        assert "secret-name" not in f"{error.value} {error.value.hint}"
    assert ask(database, "select count(*) from ehr.patient") == 0


def test_a_line_that_is_no_json_is_refused_by_its_number(database: Database, tmp_path: Path) -> None:
    folder = export(tmp_path / "x", patient())
    (folder / "a.ndjson").write_text(json.dumps(patient("p9")) + '\n{"resourceType": "Condition", "secret-name": \n')
    with pytest.raises(InputError, match=r"a.ndjson, row 2: is no valid JSON") as error:
        load_fhir(database, folder)
    assert "secret-name" not in str(error.value)


def test_bad_resources_may_be_skipped_and_are_counted(database: Database, tmp_path: Path) -> None:
    resources = [
        condition(),
        condition("c2", onsetDateTime="2020-13"),
        condition("c3", subject={"reference": "Patient/p9"}),
    ]
    resources += [
        patient("p8", deceasedDateTime="x"),
        condition("c4", subject={"reference": "Patient/p8"}, code="SNOMED/1"),
    ]
    resources += [observation(status="?"), condition("c5", code="SNOMED/2")]
    folder = export(tmp_path / "x", patient(), *resources)
    result = load_fhir(database, folder, FhirOptions(skip_bad_rows=True))
    counts = {t.source_table: (t.rows_read, t.rows_loaded, t.rows_rejected) for t in result.tables}
    assert (counts["Condition"], counts["Patient"], counts["Observation"]) == ((5, 2, 3), (2, 1, 1), (1, 0, 1))
    assert ask(database, "select count(*) from ehr.patient") == 1
    report = next(table for table in result.tables if table.source_table == "Condition")
    assert report.reasons == {
        "Condition.onsetDateTime: is no date or time of FHIR, or impossible": 1,
        "Condition.subject: is no patient of the source": 2,
    }


def test_other_resources_and_files_are_named_and_counted(database: Database, tmp_path: Path) -> None:
    folder = export(tmp_path / "x", patient(), *({"resourceType": "Claim", "id": str(n)} for n in range(3)))
    (folder / "manifest.json").write_text('{"output": [], "transactionTime": "2020-01-01T00:00:00Z"}')
    (folder / "report.pdf").write_bytes(b"%PDF")
    result = load_fhir(database, folder)
    assert reasons(result, "not read") == {"report.pdf": 1, "manifest.json": 1, "Claim": 3}


def test_a_type_that_is_gone_is_refused(database: Database, tmp_path: Path) -> None:
    folder = export(tmp_path / "x", patient(), condition())
    load_fhir(database, folder)
    (folder / "Condition.ndjson").unlink()
    with pytest.raises(InputError, match="the last load of fhir had Condition; this one has not"):
        load_fhir(database, folder)
    load_fhir(database, folder, FhirOptions(allow_missing=("Condition",)))
    assert events(database) == []


def test_of_a_resource_that_stands_there_twice_the_newest_counts(database: Database, tmp_path: Path) -> None:
    old = condition(meta={"lastUpdated": "2021-01-01T00:00:00Z"})
    new = condition(code="SNOMED/1|new", meta={"lastUpdated": "2021-01-01T00:00:00-05:00"})
    result = load_fhir(database, export(tmp_path / "x", patient(), patient(), new, old))
    assert events(database) == ["SNOMED/1"]
    assert reasons(result, "Condition") == {"stands there again, an older version or the same": 1}
    withdrawn = condition(
        verificationStatus=concept("s/entered-in-error"), meta={"lastUpdated": "2022-01-01T00:00:00Z"}
    )
    load_fhir(database, export(tmp_path / "x", patient(), withdrawn, new))
    assert events(database) == []
    with pytest.raises(InputError, match=r"row 2, column Condition.id: stands there again, with another content"):
        load_fhir(database, export(tmp_path / "x", patient(), condition(), condition(code="SNOMED/1|new")))


def test_files_may_be_packed_marked_or_single(database: Database, tmp_path: Path) -> None:
    folder = export(tmp_path / "x", patient(), condition())
    (folder / "Condition.ndjson.gz").write_bytes(gzip.compress((folder / "Condition.ndjson").read_bytes()))
    (folder / "Condition.ndjson").unlink()
    (folder / "Patient.ndjson").write_bytes(b"\xef\xbb\xbf" + (folder / "Patient.ndjson").read_bytes())
    load_fhir(database, folder)
    assert events(database) == ["SNOMED/38341003"]
    one = tmp_path / "all.ndjson"
    one.write_text("".join(json.dumps(resource) + "\n" for resource in (patient(), condition())))
    assert not load_fhir(database, one).anything_changed
    (folder / "Condition.ndjson.gz").write_bytes((folder / "Condition.ndjson.gz").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"Condition.ndjson.gz: cannot be read \(EOFError\)"):
        load_fhir(database, folder)


def test_a_folder_without_fhir_is_refused(database: Database, tmp_path: Path) -> None:
    (tmp_path / "person.csv").write_text("")
    with pytest.raises(InputError, match=r"holds no .ndjson and no .json"):
        load_fhir(database, tmp_path)


def test_deletions_are_refused(database: Database, tmp_path: Path) -> None:
    entry = {"request": {"method": "DELETE", "url": "Condition/c1"}}
    (tmp_path / "x.json").write_text(json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}))
    with pytest.raises(InputError, match=r"row 1, column Bundle.entry.request: is a deletion"):
        load_fhir(database, tmp_path)
