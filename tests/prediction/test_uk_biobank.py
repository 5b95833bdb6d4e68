"""The 25 tasks of the UK Biobank kind: an index date per patient, codes in four vocabularies, first onsets."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ehrdb.database import Connection, Database
from ehrdb.evaluation import group_of
from ehrdb.prediction import add_task, label, uk_biobank_tasks
from tests.records import Record, write

COHORT = 7
INDEX = datetime(2020, 6, 1)
AT = datetime(2020, 6, 1, 23, 59)


def after(days: float) -> datetime:
    return AT + timedelta(days=days)


def enter(connection: Connection, *patients: int) -> None:
    """These patients' index day, in the site's cohort table; all have full demographics."""
    connection.execute(
        "create schema if not exists results; create table if not exists results.cohort"
        " (cohort_definition_id integer, subject_id bigint, cohort_start_date date, cohort_end_date date)"
    )
    for patient in patients:
        connection.execute("insert into results.cohort values (%s, %s, %s, %s)", [COHORT, patient, INDEX, INDEX])
    connection.execute("update ehrdb.patient set birth_time = '1950-01-01', sex = 'Female', race = 'White'")


def observed(patient: int, *events: tuple[str, datetime]) -> list[Record]:
    """Events, and one long before and one long after the index day."""
    around = [Record(patient, after(-999), "LOINC/1"), Record(patient, after(999), "LOINC/1")]
    return [around[0], *(Record(patient, time, code) for code, time in events), around[1]]


def labels_of(database: Database, name: str) -> dict[int, int]:
    with database.transaction() as connection:
        task = next(task for task in uk_biobank_tasks(COHORT) if task.task == f"ukb_{name}")
        add_task(connection, task, replace=True)
    label(database, [task.task])
    with database.transaction() as connection:
        rows = connection.execute("select patient_id, prediction_time, value from ehr.label").fetchall()
    assert {time for _, time, _ in rows} <= {AT}
    return {patient: value for patient, _, value in rows}


def test_there_are_twenty_five_in_three_groups() -> None:
    groups = [group_of(task.task) for task in uk_biobank_tasks(COHORT)]
    assert {group: groups.count(group) for group in groups} == {"ukb_death": 1, "ukb_hospitalization": 1, "ukb_": 23}


def test_questions_end_as_the_paper_has_them() -> None:
    questions = [task.question for task in uk_biobank_tasks(COHORT)]
    assert questions[:3] == [
        "will the patient die within one year",
        "will the patient be admitted to the hospital within one year",
        "has the patient hypertension",
    ]
    assert "has the patient chronic obstructive pulmonary disease [copd]" in questions


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("ICD10/I10", 1),
        ("ICD10/I11.9", 1),
        ("ICD10/I119", 1),  # without dots
        ("ICD10/I11.7", 1),  # not in the map: by its first three characters
        ("ICD10/O10.3", 0),  # in the map, elsewhere
        ("ICD10/O103", 0),
        ("ICD10/I67.4", 1),
        ("ICD10/I67.9", 0),
        ("ICD10CM/I16.1", 1),
        ("DIAGNOSIS//ICD//10//I161", 1),
        ("ICD10CM/I11.7", 0),  # by itself alone
        ("ICD9CM/401.1", 1),
        ("ICD9CM/401.7", 0),
        ("SNOMED/59621000", 0),  # no map says that it is one
    ],
)
def test_codes_count_as_the_map_of_phecodes_has_them(database: Database, code: str, value: int) -> None:
    with database.transaction() as connection:
        write(connection, observed(1, (code, after(5))))
        enter(connection, 1)
    assert labels_of(database, "hypertension") == {1: value}


def test_snomed_counts_by_the_sites_own_map(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, observed(1, ("SNOMED/59621000", after(5))))
        enter(connection, 1)
        connection.execute(
            "insert into ehrdb.code_map (map, code, standard_code) values ('own', 'SNOMED/59621000', 'ICD10/I10')"
        )
        connection.execute("select ehrdb.apply_code_map()")
    assert labels_of(database, "hypertension") == {1: 1}


@pytest.mark.parametrize(
    ("days", "labels"),
    [(-400.0, {}), (0.0, {}), (1 / 1440, {1: 1}), (365.0, {1: 1}), (365 + 1 / 1440, {1: 0})],
)
def test_an_onset_lies_after_the_index_day_and_within_a_year(
    database: Database, days: float, labels: dict[int, int]
) -> None:
    with database.transaction() as connection:
        write(connection, observed(1, ("ICD10/I10", after(days))))
        enter(connection, 1)
    assert labels_of(database, "hypertension") == labels


def test_death_and_admission_exclude_nobody(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [*observed(1, ("Visit/IP", after(-9)), ("Visit/IP", after(9))), *observed(2)])
        connection.execute(
            "update ehrdb.event e set visit_class = 'inpatient', end_time = e.time + interval '1 day'"
            "  from ehrdb.concept c where c.code_id = e.code_id and c.code = 'Visit/IP'"
        )
        enter(connection, 1, 2)
        connection.execute("update ehrdb.patient set death_time = %s where patient_id = 2", [after(300)])
    assert labels_of(database, "hospitalization") == {1: 1, 2: 0}
    assert labels_of(database, "death") == {1: 0, 2: 1}


def test_asked_are_those_with_full_demographics_and_events_on_both_sides(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [record for patient in range(1, 5) for record in observed(patient)])
        write(connection, [Record(5, after(-9), "LOINC/1"), Record(6, after(9), "LOINC/1")])
        write(connection, [Record(7, datetime(1950, 1, 1), "MEDS_BIRTH"), Record(7, after(9), "LOINC/1")])
        enter(connection, *range(1, 8))
        connection.execute("update ehrdb.patient set sex = null where patient_id = 2")
        connection.execute("update ehrdb.patient set race = null where patient_id = 3")
        connection.execute("update ehrdb.patient set birth_time = null where patient_id = 4")
    assert labels_of(database, "anemia") == {1: 0}


def test_a_task_may_be_of_one_sex(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [*observed(1), *observed(2)])
        enter(connection, 1, 2)
        connection.execute("update ehrdb.patient set sex = 'M' where patient_id = 2")
        task = uk_biobank_tasks(COHORT)[2]
        add_task(connection, task.model_copy(update={"sex": "male"}))
    label(database, [task.task])
    with database.transaction() as connection:
        assert connection.execute("select patient_id from ehr.label").fetchall() == [(2,)]


def stay(connection: Connection, start: datetime, end: datetime, *codes: str) -> None:
    """An admission of patient 1, and codes a day before its end."""
    write(connection, [Record(1, start, "Visit/IP"), *(Record(1, end - timedelta(days=1), code) for code in codes)])
    connection.execute(
        "update ehrdb.event e set visit_id = 5, visit_class = case c.code when 'Visit/IP' then 'inpatient' end,"
        "       end_time = case c.code when 'Visit/IP' then %s::timestamp end"
        "  from ehrdb.concept c where c.code_id = e.code_id and c.code = any (%s)",
        [end, ["Visit/IP", *codes]],
    )


def text_at(connection: Connection, moment: datetime) -> list[str]:
    row = connection.execute("select ehr.timeline(1, %s, 'list_admission')", [moment]).fetchone()
    assert row is not None
    return str(row[0]).split("\n")


def test_codes_of_a_stay_that_is_over_stand_at_its_admission(connection: Connection) -> None:
    write(connection, [Record(1, after(-8), "ICD10/B"), Record(1, after(-30), "ICD10/C", 3.0, unit="mg")])
    stay(connection, after(-10), after(-5), "ICD10/A")
    enter(connection, 1)
    connection.execute("update ehrdb.patient set race = 'Black or African American'")
    named = [f"text of {code}" for code in ("ICD10/B", "Visit/IP", "ICD10/A", "ICD10/C")]
    assert text_at(connection, AT) == [*named, "FEMALE", "Black", "Birth"]
    # On the day before its end nobody knows that it will be over.
    assert text_at(connection, after(-5.5))[:3] == ["text of ICD10/A", "text of ICD10/B", "text of Visit/IP"]


def test_a_code_is_named_once_where_it_is_newest(connection: Connection) -> None:
    times = ((-9, "ICD10/A"), (-8, "ICD10/B"), (-7, "ICD10/A"))
    write(connection, [Record(1, after(days), code) for days, code in times])
    assert text_at(connection, AT) == ["text of ICD10/A", "text of ICD10/B"]


@pytest.mark.parametrize(
    ("race", "line"), [("Asian", ["Asian"]), ("WHITE", ["White"]), ("Other", []), ("Not White", [])]
)
def test_the_tail_names_three_ethnicities_alone(connection: Connection, race: str, line: list[str]) -> None:
    write(connection, [Record(1, after(-1), "Gender/F"), Record(1, after(-1), "ICD10/A")])
    enter(connection, 1)
    connection.execute("update ehrdb.patient set race = %s", [race])
    assert text_at(connection, AT) == ["text of ICD10/A", "FEMALE", *line, "Birth"]
