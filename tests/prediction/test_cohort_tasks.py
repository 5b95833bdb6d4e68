"""Tasks between OMOP cohorts: the study population of PatientLevelPrediction."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehrdb.cohorts import OmopCohort, keep, resolve
from ehrdb.database import Connection, Database, closing_pool
from ehrdb.errors import ConfigError, InputError
from ehrdb.prediction import add_task, between_cohorts, declared, find_task, label, read_task
from tests.records import Record, write, write_patients

START = date(2020, 1, 1)
TARGET, OUTCOME, EXCLUDED = 101, 102, 103
Row = tuple[int, int, int, int]
"""Cohort, patient, day of start, days it lasts."""
STROKE = {"task": "stroke", "kind": "cohort", "description": "A stroke", "target": TARGET, "outcome": OUTCOME}


def on(number: int) -> date:
    return START + timedelta(days=number)


def observe(connection: Connection, observed: dict[int, tuple[int, int]]) -> None:
    """Patients with an event on the first and the last of these days."""
    connection.execute("truncate ehrdb.event; delete from ehrdb.patient")
    write(
        connection,
        [Record(p, datetime.combine(on(d), time(12)), "SNOMED/1") for p, days in observed.items() for d in days],
    )


def fill(connection: Connection, rows: list[Row]) -> None:
    """The site's cohort table, with these rows alone."""
    connection.execute(
        "create schema if not exists results; drop table if exists results.cohort; create table results.cohort"
        " (cohort_definition_id integer, subject_id integer, cohort_start_date date, cohort_end_date date)"
    )
    for cohort, patient, start, length in rows:
        values = [cohort, patient, on(start), on(start + length)]
        connection.execute("insert into results.cohort values (%s, %s, %s, %s)", values)


def labels_of(database: Database, folder: Path, **changes: Any) -> list[tuple[int, int, int]]:
    """Patient, day of prediction, value."""
    file = folder / "task.yaml"
    file.write_text(yaml.safe_dump({**STROKE, **changes}))
    with database.transaction() as connection:
        add_task(connection, read_task(file), replace=True)
    label(database, ["stroke"])
    with database.transaction() as connection:
        rows = connection.execute("select patient_id, prediction_time, value from ehr.label").fetchall()
    assert {moment.time() for _, moment, _ in rows} <= {time(23, 59)}
    return sorted((patient, (moment.date() - START).days, value) for patient, moment, value in rows)


@pytest.fixture
def site(database: Database) -> Database:
    """Ten patients, observed from day 0 to day 400."""
    with database.transaction() as connection:
        observe(connection, dict.fromkeys(range(1, 11), (0, 400)))
    return database


def test_the_outcome_counts_from_the_first_to_the_last_day_at_risk(site: Database, tmp_path: Path) -> None:
    days = {1: 9, 2: 10, 3: 11, 4: 375, 5: 376}
    with site.transaction() as connection:
        fill(connection, [(c, p, d, 0) for p, day in days.items() for c, d in ((TARGET, 10), (OUTCOME, day))])
    found = labels_of(site, tmp_path, remove_subjects_with_prior_outcome=False)
    assert found == [(1, 10, 0), (2, 10, 0), (3, 10, 1), (4, 10, 1), (5, 10, 0)]


def test_who_had_the_outcome_before_is_left_out_within_the_look_back(site: Database, tmp_path: Path) -> None:
    with site.transaction() as connection:
        fill(connection, [(TARGET, p, 100, 0) for p in (1, 2, 3)] + [(OUTCOME, 2, 70, 0), (OUTCOME, 3, 71, 0)])
    assert labels_of(site, tmp_path, risk_window_end=30) == [(1, 100, 0)]
    assert labels_of(site, tmp_path, risk_window_end=30, prior_outcome_lookback=30) == [(1, 100, 0), (2, 100, 0)]


def test_negatives_need_their_time_at_risk_and_positives_need_none(site: Database, tmp_path: Path) -> None:
    with site.transaction() as connection:
        fill(connection, [(TARGET, 1, 35, 0), (TARGET, 2, 36, 0), (TARGET, 3, 390, 0), (OUTCOME, 3, 395, 0)])
    assert labels_of(site, tmp_path) == [(1, 35, 0), (3, 390, 1)]
    assert labels_of(site, tmp_path, include_all_outcomes=False) == [(1, 35, 0)]
    assert labels_of(site, tmp_path, require_time_at_risk=False) == [(1, 35, 0), (2, 36, 0), (3, 390, 1)]
    assert labels_of(site, tmp_path, min_time_at_risk=363) == [(1, 35, 0), (2, 36, 0), (3, 390, 1)]


def test_washout_first_exposure_and_excluded_cohorts_leave_out(site: Database, tmp_path: Path) -> None:
    rows = [(TARGET, 1, 5, 0), (TARGET, 1, 20, 0), (TARGET, 2, 20, 0), (TARGET, 3, 20, 0)]
    with site.transaction() as connection:
        fill(connection, [*rows, (EXCLUDED, 2, 20, 3), (EXCLUDED, 3, 21, 3), (OUTCOME, 9, 0, 0)])
    kept = {"risk_window_end": 30}
    assert labels_of(site, tmp_path, **kept) == [(1, 5, 0), (1, 20, 0), (2, 20, 0), (3, 20, 0)]
    assert labels_of(site, tmp_path, **kept, washout_period=6) == [(1, 20, 0), (2, 20, 0), (3, 20, 0)]
    assert labels_of(site, tmp_path, **kept, first_exposure_only=True)[0] == (1, 5, 0)
    assert labels_of(site, tmp_path, **kept, first_exposure_only=True, washout_period=6) == [(2, 20, 0), (3, 20, 0)]
    assert labels_of(site, tmp_path, **kept, exclude=[EXCLUDED]) == [(1, 5, 0), (1, 20, 0), (3, 20, 0)]


def test_anchors_count_from_the_end_of_the_cohort(site: Database, tmp_path: Path) -> None:
    with site.transaction() as connection:
        fill(connection, [(TARGET, 1, 10, 5), (OUTCOME, 1, 15, 0), (TARGET, 2, 10, 5), (OUTCOME, 2, 16, 0)])
    ends = {"start_anchor": "cohort end", "end_anchor": "cohort end", "remove_subjects_with_prior_outcome": False}
    assert labels_of(site, tmp_path, **ends) == [(1, 10, 0), (2, 10, 1)]
    assert labels_of(site, tmp_path, restrict_tar_to_cohort_end=True) == [(1, 10, 1)]


def test_observation_periods_of_the_cdm_are_taken_where_the_setting_names_them(site: Database, tmp_path: Path) -> None:
    with site.transaction() as connection:
        fill(connection, [(TARGET, 1, 10, 0), (TARGET, 2, 10, 0), (OUTCOME, 3, 0, 0)])
        connection.execute(
            "create table results.observed (person_id integer, observation_period_start_date date,"
            " observation_period_end_date date)"
        )
        connection.execute("insert into results.observed values (1, '2020-01-01', '2022-01-01')")
    tables = {"ehrdb.observation_period_table": "results.observed"}
    with closing_pool(Database(site.url, site_tables=tables)) as named:
        assert labels_of(named, tmp_path) == [(1, 10, 0)]


days = st.integers(0, 60)
rows = st.lists(
    st.tuples(st.sampled_from([TARGET, TARGET, OUTCOME, EXCLUDED]), st.integers(1, 3), days, st.integers(0, 10)),
    min_size=2,
    max_size=14,
    unique_by=lambda row: row[:3],
)
choices = st.fixed_dictionaries(
    {
        "risk_window_start": st.integers(1, 10),
        "risk_window_end": st.integers(10, 30),
        "start_anchor": st.sampled_from(["cohort start", "cohort end"]),
        "end_anchor": st.sampled_from(["cohort start", "cohort end"]),
        "restrict_tar_to_cohort_end": st.booleans(),
        "first_exposure_only": st.booleans(),
        "washout_period": st.integers(0, 20),
        "remove_subjects_with_prior_outcome": st.booleans(),
        "prior_outcome_lookback": st.integers(0, 40),
        "require_time_at_risk": st.booleans(),
        "include_all_outcomes": st.booleans(),
        "min_time_at_risk": st.integers(0, 10),
        "exclude": st.sampled_from([[], [EXCLUDED]]),
    }
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows, choices)
def test_labels_are_those_of_the_settings_in_plain_python(
    database: Database, tmp_path: Path, drawn: list[Row], chosen: dict[str, Any]
) -> None:
    observed = {1: (0, 70), 2: (10, 70), 3: (0, 30)}
    with database.transaction() as connection:
        observe(connection, observed)
        # Nobody here, so that no cohort is empty.
        fill(connection, [*drawn, (TARGET, 9, 0, 0), (OUTCOME, 9, 0, 0)])
    assert labels_of(database, tmp_path, **chosen) == plain_labels(drawn, chosen, observed)


def plain_labels(
    drawn: list[Row], chosen: dict[str, Any], observed: dict[int, tuple[int, int]]
) -> list[tuple[int, int, int]]:
    """The study population, exposure by exposure."""
    exposures = sorted((p, d, n) for c, p, d, n in drawn if c == TARGET and observed[p][0] <= d <= observed[p][1])
    is_restricted = chosen["restrict_tar_to_cohort_end"] and any(length > 0 for _, _, length in exposures)
    found = []
    for place, (patient, day, length) in enumerate(exposures):
        first, last = observed[patient]
        start = chosen["risk_window_start"] + (length if chosen["start_anchor"] == "cohort end" else 0)
        end = chosen["risk_window_end"] + (length if chosen["end_anchor"] == "cohort end" else 0)
        end = min([end, last - day, *([length] if is_restricted else [])])
        events = [d - day for c, p, d, _ in drawn if c == OUTCOME and p == patient]
        is_positive = any(start <= event <= end for event in events)
        if chosen["first_exposure_only"] and place and exposures[place - 1][0] == patient:
            continue
        if day - first < chosen["washout_period"]:
            continue
        if any(c in chosen["exclude"] and p == patient and d <= day for c, p, d, _ in drawn):
            continue
        before = [event for event in events if -chosen["prior_outcome_lookback"] < event < start]
        if chosen["remove_subjects_with_prior_outcome"] and before:
            continue
        needed = chosen["min_time_at_risk"] if chosen["require_time_at_risk"] else 0
        is_let_off = is_positive and chosen["include_all_outcomes"] and chosen["require_time_at_risk"]
        if is_let_off or end >= start + needed:
            found.append((patient, day, int(is_positive)))
    return found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"risk_window_start": 0}, "risk_window_start: Input should be greater than or equal to 1"),
        ({"risk_window_start": 40, "risk_window_end": 30}, "the time at risk ends before it starts"),
        ({"end_anchor": "cohort end"}, "min_time_at_risk: say it"),
        ({"start_anchor": "index"}, "start_anchor: Input should be 'cohort start' or 'cohort end'"),
        ({"kind": "cohorts"}, "kind: Extra inputs are not permitted"),
        ({"target": -1}, "target: Input should be greater than or equal to 0"),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "task.yaml").write_text(yaml.safe_dump({**STROKE, **changes}))
    with pytest.raises(InputError, match=r"task\.yaml") as caught:
        read_task(tmp_path / "task.yaml")
    assert message in str(caught.value)


def test_a_task_that_is_shown_can_be_added_again(site: Database, tmp_path: Path) -> None:
    with site.transaction() as connection:
        fill(connection, [(TARGET, 1, 10, 0), (OUTCOME, 1, 15, 0)])
    labels_of(site, tmp_path, exclude=[7], washout_period=3)
    first = read_task(tmp_path / "task.yaml")
    with site.transaction() as connection:
        (tmp_path / "shown.yaml").write_text(yaml.safe_dump(declared(find_task(connection, "stroke"))))
    assert read_task(tmp_path / "shown.yaml").as_task() == first.as_task()


def test_a_cohort_without_rows_or_table_is_told_and_nothing_added(site: Database) -> None:
    with site.transaction() as connection:
        with (
            pytest.raises(psycopg.Error, match=r"there is no table results\.cohort") as caught,
            connection.transaction(),
        ):
            add_task(connection, between_cohorts(TARGET, OUTCOME, "stroke"))
        assert caught.value.sqlstate == "EH010"
        fill(connection, [(TARGET, 1, 10, 0)])
        with pytest.raises(ConfigError, match=r"results\.cohort has no row of cohort 102"), connection.transaction():
            add_task(connection, between_cohorts(TARGET, OUTCOME, "stroke"))
        assert connection.execute("select count(*) from ehr.task").fetchone() == (0,)


def test_an_omop_cohort_is_a_cohort_everywhere(database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 4)
        fill(connection, [(7, 3, 0, 1), (7, 2, 0, 1), (7, 2, 5, 1), (7, 99, 0, 1), (8, 99, 0, 1)])
        assert connection.execute("select ehr.cohort(7)").fetchone() == ([2, 3],)
        assert resolve(connection, "7") == resolve(connection, OmopCohort(7)) == [2, 3]
        with pytest.raises(psycopg.Error, match="nobody of cohort 8 is a patient here") as caught:
            connection.execute("select ehr.cohort(8)")
        assert caught.value.sqlstate == "EH001"


def test_the_setting_names_the_cohort_table(database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 2)
        fill(connection, [(7, 1, 0, 1)])
        connection.execute("alter table results.cohort rename to people")
        connection.execute("set local ehrdb.cohort_table = 'results.people'")
        assert connection.execute("select ehr.cohort(7)").fetchone() == ([1],)
        for name in ("a.b.c.d; drop", '"', "1", "results.", "/x"):
            connection.execute("select set_config('ehrdb.cohort_table', %s, true)", [name])
            with pytest.raises(psycopg.Error) as caught, connection.transaction():
                connection.execute("select ehr.cohort(7)")
            assert caught.value.sqlstate == "EH010"


def test_patients_are_kept_as_a_cohort_once(database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 3)
        connection.execute("create schema results")
        keep(connection, 9, [1, 2], "2020-01-31")
        assert resolve(connection, "9") == [1, 2]
        first = "select min(time)::date, max(time)::date from ehr.event where patient_id = 1"
        kept = "select cohort_start_date, cohort_end_date from results.cohort where subject_id = 1"
        assert connection.execute(kept.encode()).fetchone() == connection.execute(first.encode()).fetchone()
        with pytest.raises(ConfigError, match=r"cohort 9 has rows in results\.cohort already"):
            keep(connection, 9, [3])
