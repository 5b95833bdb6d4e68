"""A site's own tasks: declared in YAML, checked, labelled by one rule."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehrdb.database import Connection, Database
from ehrdb.errors import ConfigError, InputError, NotFound
from ehrdb.prediction import LabelResult, add_task, declared, find_task, label, read_task, remove_task
from tests.records import Record, day, write

SEPSIS = {
    "task": "sepsis",
    "description": "Sepsis within three days of a high lactate?",
    "prediction_time": {"codes": ["LOINC/2524-7"], "value": {"above": 2}},
    "outcome": {"codes": ["SNOMED/91302008"], "days": 3},
    "censoring": "negative",
}
Label = tuple[int, datetime, int]


def labels_of(database: Database, folder: Path, **changes: object) -> list[Label]:
    """Labels of SEPSIS with these changes."""
    file = folder / "task.yaml"
    file.write_text(yaml.safe_dump({**SEPSIS, **changes}), encoding="utf-8")
    with database.transaction() as connection:
        add_task(connection, read_task(file), replace=True)
    label(database, ["sepsis"])
    with database.transaction() as connection:
        return connection.execute("select patient_id, prediction_time, value from ehr.label order by 1, 2").fetchall()


def stay(connection: Connection, patient_id: int, start: datetime, end: datetime | None) -> None:
    write(connection, [Record(patient_id, start, "Visit/IP")])
    connection.execute(
        "update ehrdb.event e set visit_class = 'inpatient', end_time = %s from ehrdb.concept c"
        " where c.code_id = e.code_id and c.code = 'Visit/IP' and e.patient_id = %s and e.time = %s",
        [end, patient_id, start],
    )


@pytest.fixture
def records(database: Database) -> Database:
    """1: lactate 3, then sepsis; 2: lactate 2 (not above), then 4; 3: lactate 9, nothing after."""
    with database.transaction() as connection:
        write(
            connection,
            [
                Record(1, day(1), "LOINC/2524-7", 3.0, unit="mmol/L"),
                Record(1, day(3), "SNOMED/91302008"),
                Record(2, day(1), "LOINC/2524-7", 2.0, unit="mmol/L"),
                Record(2, day(2), "LOINC/2524-7", 4.0, unit="mg/dL"),
                Record(2, day(9), "SNOMED/91302008"),
                Record(3, day(1), "LOINC/2524-7", 9.0, unit="mmol/L"),
            ],
        )
    return database


def test_an_outcome_in_the_window_is_positive(records: Database, tmp_path: Path) -> None:
    assert labels_of(records, tmp_path) == [(1, day(1), 1), (2, day(2), 0), (3, day(1), 0)]


@pytest.mark.parametrize(("hours", "microseconds", "value"), [(0, 0, 0), (0, 1, 1), (72, 0, 1), (72, 1, 0), (-1, 0, 0)])
def test_the_window_opens_after_the_moment_and_closes_with_its_last(
    database: Database, tmp_path: Path, hours: int, microseconds: int, value: int
) -> None:
    outcome = day(5) + timedelta(hours=hours, microseconds=microseconds)
    with database.transaction() as connection:
        write(connection, [Record(1, day(5), "LOINC/2524-7", 3.0), Record(1, outcome, "SNOMED/91302008")])
    assert labels_of(database, tmp_path) == [(1, day(5), value)]


@pytest.mark.parametrize(("microseconds", "labels"), [(0, 1), (-1, 0)])
def test_follow_up_reaches_the_end_of_the_window(
    database: Database, tmp_path: Path, microseconds: int, labels: int
) -> None:
    last = day(5) + timedelta(days=3, microseconds=microseconds)
    with database.transaction() as connection:
        write(connection, [Record(1, day(5), "LOINC/2524-7", 3.0), Record(1, last, "SNOMED/1")])
    assert len(labels_of(database, tmp_path, censoring="follow_up")) == labels


def test_negatives_without_follow_up_are_left_out(records: Database, tmp_path: Path) -> None:
    assert labels_of(records, tmp_path, censoring="follow_up") == [(1, day(1), 1), (2, day(2), 0)]


def test_death_within_the_window_is_follow_up(records: Database, tmp_path: Path) -> None:
    with records.transaction() as connection:
        connection.execute("update ehrdb.patient set death_time = %s where patient_id = 3", [day(2)])
    assert (3, day(1), 0) in labels_of(records, tmp_path, censoring="follow_up")


def test_nothing_is_predicted_after_death(records: Database, tmp_path: Path) -> None:
    with records.transaction() as connection:
        connection.execute("update ehrdb.patient set death_time = %s where patient_id = 2", [day(2)])
    assert [patient for patient, _, _ in labels_of(records, tmp_path)] == [1, 3]


def test_death_is_an_outcome(records: Database, tmp_path: Path) -> None:
    with records.transaction() as connection:
        connection.execute("update ehrdb.patient set death_time = %s where patient_id = 3", [day(4)])
    assert labels_of(records, tmp_path, outcome={"event": "death", "days": 3})[-1] == (3, day(1), 1)


def test_units_are_compared_and_never_converted(records: Database, tmp_path: Path) -> None:
    trigger = {"codes": ["LOINC/2524-7"], "value": {"above": 2, "unit": "MMOL/L"}}
    assert labels_of(records, tmp_path, prediction_time=trigger) == [(1, day(1), 1), (3, day(1), 0)]


def test_a_threshold_is_compared_at_the_precision_of_values(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        write(connection, [Record(1, day(1), "LOINC/2524-7", 3.9)])
    for bound, count in (("above", 0), ("at_least", 1)):
        trigger = {"codes": ["LOINC/2524-7"], "value": {bound: 3.9}}
        assert len(labels_of(database, tmp_path, prediction_time=trigger)) == count


def test_excluded_are_those_with_the_event_before_in_time(records: Database, tmp_path: Path) -> None:
    early = [{"codes": ["LOINC/2524-7"], "value": {"at_most": 2}}]
    assert [patient for patient, _, _ in labels_of(records, tmp_path, exclude=early)] == [1, 3]
    later = [{"codes": ["SNOMED/91302008"]}]
    assert [patient for patient, _, _ in labels_of(records, tmp_path, exclude=later)] == [1, 2, 3]


def test_a_look_back_leaves_out_what_is_older(records: Database, tmp_path: Path) -> None:
    exclude = [{"codes": ["LOINC/2524-7"], "value": {"at_most": 2}, "days": 1}]
    with records.transaction() as connection:
        connection.execute("update ehrdb.event set time = time - interval '1 minute' where numeric_value = 2")
    assert [patient for patient, _, _ in labels_of(records, tmp_path, exclude=exclude)] == [1, 2, 3]


def test_a_star_stands_for_all_codes_that_start_so_and_descendants_count(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        write(connection, [Record(1, day(1), "ICD10CM/A41.9"), Record(2, day(1), "SNOMED/1"), Record(3, day(1), "B")])
        connection.execute(
            "insert into ehrdb.concept (code, vocabulary, description) values ('SNOMED/2', 'SNOMED', 'parent')"
        )
        connection.execute(
            "insert into ehrdb.concept_parent (child_id, parent_id)"
            " select c.code_id, p.code_id from ehrdb.concept c, ehrdb.concept p"
            "  where c.code = 'SNOMED/1' and p.code = 'SNOMED/2'"
        )
    for descendants, found in ((True, [1, 2]), (False, [1])):
        trigger = {"codes": ["ICD10CM/A41*", "SNOMED/2"], "descendants": descendants}
        assert [patient for patient, _, _ in labels_of(database, tmp_path, prediction_time=trigger)] == found


def test_until_discharge_is_the_stay_in_which_the_prediction_is_made(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        for patient in (1, 2):
            stay(connection, patient, day(1), day(5))
        write(connection, [Record(1, day(4), "SNOMED/91302008"), Record(2, day(6), "SNOMED/91302008")])
    found = labels_of(
        database,
        tmp_path,
        prediction_time={"event": "admission", "end_of_day": True},
        outcome={"codes": ["SNOMED/91302008"], "until": "discharge"},
    )
    assert found == [(1, datetime(2020, 1, 1, 23, 59), 1), (2, datetime(2020, 1, 1, 23, 59), 0)]


def test_questions_in_stays_without_an_end_are_counted(database: Database, tmp_path: Path) -> None:
    """1: an open stay; 2, 5: a closed one after an open one; 3: an open one after a closed one; 4: no stay."""
    with database.transaction() as connection:
        for patient, start, end in (
            (1, 1, None),
            (2, 1, None),
            (2, 3, 5),
            (3, 1, 2),
            (3, 3, None),
            (5, 1, None),
            (5, 3, 5),
        ):
            stay(connection, patient, day(start), day(end) if end else None)
        write(connection, [Record(p, day(4), "LOINC/2524-7", 3.0) for p in (1, 2, 3, 4, 5)])
    outcome = {"codes": ["SNOMED/91302008"], "until": "discharge"}
    trigger = {"codes": ["LOINC/2524-7"]}
    assert labels_of(database, tmp_path, outcome=outcome, prediction_time=trigger) == [
        (patient, day(4), 0) for patient in (2, 5)
    ]
    assert label(database, ["sepsis", "guo_los", "guo_readmission"]) == [
        LabelResult("sepsis", 2, 0, False, 2),
        LabelResult("guo_los", 3, 0, None, 4),
        LabelResult("guo_readmission", 1, 1, None, None),
    ]
    labels_of(database, tmp_path, prediction_time=trigger)  # within days
    assert label(database, ["sepsis"])[0].in_open_stays is None


def test_only_adults_and_only_the_first_event(records: Database, tmp_path: Path) -> None:
    with records.transaction() as connection:
        connection.execute("update ehrdb.patient set birth_time = date '2002-01-02' where patient_id in (1, 2)")
        connection.execute("update ehrdb.patient set birth_time = date '1950-01-01' where patient_id = 3")
    trigger = {"codes": ["LOINC/2524-7"], "first": True}
    assert labels_of(records, tmp_path, min_age=18, prediction_time=trigger) == [(3, day(1), 0)]
    trigger = {"codes": ["LOINC/2524-7"], "first": False}
    assert labels_of(records, tmp_path, min_age=18, prediction_time=trigger) == [(2, day(2), 0), (3, day(1), 0)]


def test_seconds_round_up_so_that_the_event_itself_is_known(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        write(connection, [Record(1, day(1) + timedelta(seconds=1), "LOINC/2524-7", 3.0)])
    assert labels_of(database, tmp_path) == [(1, day(1) + timedelta(minutes=1), 0)]


minutes = st.integers(0, 6 * 24 * 60)
events = st.lists(
    st.tuples(st.integers(1, 3), minutes, st.sampled_from(["LOINC/2524-7", "SNOMED/91302008", "SNOMED/3"])),
    min_size=1,
    max_size=20,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events, st.integers(1, 3), st.sampled_from(["negative", "follow_up"]))
def test_labels_are_those_of_the_rule_in_plain_python(
    database: Database, tmp_path: Path, events: list[tuple[int, int, str]], days: int, censoring: str
) -> None:
    with database.transaction() as connection:
        connection.execute("truncate ehrdb.event")
        write(connection, [Record(p, day(1) + timedelta(minutes=m), code) for p, m, code in events])
    found = labels_of(
        database,
        tmp_path,
        prediction_time={"codes": ["LOINC/2524-7"]},
        outcome={"codes": ["SNOMED/91302008"], "days": days},
        exclude=[{"codes": ["SNOMED/3"], "days": 1}],
        censoring=censoring,
    )
    assert found == plain_labels(events, days * 1440, censoring)


def plain_labels(events: list[tuple[int, int, str]], window: int, censoring: str) -> list[Label]:
    labels = []
    for patient, minute in sorted({(p, m) for p, m, code in events if code == "LOINC/2524-7"}):
        own = [(m, code) for p, m, code in events if p == patient]
        if any(code == "SNOMED/3" and minute - 1440 <= m <= minute for m, code in own):
            continue
        value = any(code == "SNOMED/91302008" and minute < m <= minute + window for m, code in own)
        if value or censoring == "negative" or max(own)[0] >= minute + window:
            labels.append((patient, day(1) + timedelta(minutes=minute), int(value)))
    return labels


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outcome": {"codes": ["A/1"]}}, "outcome: Value error, name either days or until"),
        ({"outcome": {"days": 3}}, "outcome: Value error, name either an event, a cohort or codes"),
        ({"outcome": {"codes": ["A/1"], "days": "soon"}}, "outcome.days: Input should be a valid integer"),
        ({"horizon": 3}, "horizon: Extra inputs are not permitted"),
        ({"task": "Sepsis!"}, "task: String should match pattern"),
        ({"prediction_time": {"event": "birth"}}, "prediction_time.event: Input should be 'admission'"),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    file = tmp_path / "task.yaml"
    file.write_text(yaml.safe_dump({**SEPSIS, **changes}), encoding="utf-8")
    with pytest.raises(InputError, match=r"task\.yaml") as caught:
        read_task(file)
    assert message in str(caught.value)


@pytest.mark.parametrize("content", ["a: [", "", "just words"])
def test_what_is_no_declaration_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "task.yaml"
    file.write_text(content)
    with pytest.raises(InputError, match=r"task\.yaml"):
        read_task(file)


def test_a_name_that_is_taken_is_refused_unless_replaced(records: Database, tmp_path: Path) -> None:
    labels_of(records, tmp_path)
    declaration = read_task(tmp_path / "task.yaml")
    with records.transaction() as connection, pytest.raises(ConfigError, match="already"):
        add_task(connection, declaration)
    with records.transaction() as connection, pytest.raises(ConfigError, match="benchmark"):
        add_task(connection, declaration.model_copy(update={"task": "guo_los"}), replace=True)


def test_labelling_again_takes_the_place_of_the_labels_before(records: Database, tmp_path: Path) -> None:
    before = labels_of(records, tmp_path)
    label(records, ["sepsis"])
    with records.transaction() as connection:
        again = connection.execute("select patient_id, prediction_time, value from ehr.label order by 1, 2").fetchall()
    assert again == before


def test_a_removed_task_leaves_no_labels(records: Database, tmp_path: Path) -> None:
    labels_of(records, tmp_path)
    with records.transaction() as connection:
        assert find_task(connection, "sepsis").group == "site"
        remove_task(connection, "sepsis")
        assert connection.execute("select count(*) from ehr.label").fetchone() == (0,)
        with pytest.raises(NotFound, match="sepsis"):
            find_task(connection, "sepsis")


def test_a_task_that_is_shown_can_be_added_again(records: Database, tmp_path: Path) -> None:
    labels_of(records, tmp_path, exclude=[{"event": "icu", "days": 2}], min_age=18, question="is it sepsis")
    first = read_task(tmp_path / "task.yaml")
    with records.transaction() as connection:
        (tmp_path / "shown.yaml").write_text(yaml.safe_dump(declared(find_task(connection, "sepsis"))))
    assert read_task(tmp_path / "shown.yaml") == first


def test_codes_that_are_not_here_are_named(records: Database, tmp_path: Path) -> None:
    labels_of(records, tmp_path)
    changed = {**SEPSIS, "outcome": {"codes": ["SNOMED/91302008", "ICD10CM/A41*"], "days": 3}}
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(changed))
    with records.transaction() as connection:
        assert add_task(connection, read_task(tmp_path / "task.yaml"), replace=True) == ["ICD10CM/A41*"]
