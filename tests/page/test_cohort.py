"""Cohorts, models and outcomes on the page: who is in them, what is withheld, what is refused."""

from __future__ import annotations

import re
from contextlib import ExitStack
from datetime import datetime, timedelta

import numpy as np
import pytest
from starlette.testclient import TestClient

from ehrdb.client import Client
from ehrdb.config import Settings
from ehrdb.database import Database
from ehrdb.page import outcomes, views
from ehrdb.page.charts import WIDTH, bars, love
from ehrdb.page.cohort import Wanted, projected, wanted
from ehrdb.page.models import by_year, calibration, subgroups
from ehrdb.page.outcomes import shares
from ehrdb.page.views import Rows, rows_of
from ehrdb.queries import Queries
from tests.page.conftest import ALICE, BOB
from tests.page.test_page import as_user, post, token

EVERYBODY = set(range(1, 11))
queries = Queries("ehrdb.page")


@pytest.fixture
def alice(hospital: Database) -> TestClient:
    return as_user(hospital, ALICE)


def patients(page: str) -> set[int]:
    return {int(found) for found in re.findall(r'href="/patients/(\d+)"', page)}


@pytest.mark.parametrize("show", ["members", "map"])
def test_a_cohort_holds_nobody_whom_the_asker_may_not_see(hospital: Database, show: str) -> None:
    assert patients(post(as_user(hospital, ALICE), "/cohort", show=show, task="sepsis")) == EVERYBODY
    assert patients(post(as_user(hospital, BOB), "/cohort", show=show)) == set(range(11, 21))


def test_members_are_chosen_by_code_and_by_ids(alice: TestClient) -> None:
    assert patients(post(alice, "/cohort", code="LOINC/718-7")) == {1}
    assert patients(post(alice, "/cohort", ids="3, 4 11")) == {3, 4}
    assert "Nobody whom you may see" in post(alice, "/cohort", ids="11")


def test_members_with_a_risk_come_most_probable_first(alice: TestClient) -> None:
    page = post(alice, "/cohort", task="sepsis")
    found = [float(share) for share in re.findall(r"([\d.]+) %</td>", page)]
    assert len(found) == 10
    assert found == sorted(found, reverse=True)


def test_balance_compares_with_matched_controls_whom_the_asker_may_see(alice: TestClient) -> None:
    page = post(alice, "/cohort", show="balance", ids="1 2 3")
    assert "3 members, 3 controls" in page
    assert "among 7 others" in page
    assert page.count('class="love"') > 5


def test_whose_dots_and_neighbours_were_shown_is_in_the_audit(hospital: Database, alice: TestClient) -> None:
    post(alice, "/cohort", show="map")
    alice.get("/patients/3")
    alice.get("/")
    with hospital.transaction() as connection:
        noted = dict(connection.execute("select what, patients from ehr.audit where patients is not null").fetchall())
    assert set(noted[f"page: map as {ALICE}"]) == EVERYBODY
    assert len(noted[f"page: neighbours shown as {ALICE}"]) == 6
    assert set(noted[f"page: listed as {ALICE}"]) == EVERYBODY


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"code": "SNOMED/no-such"}, 404, "no such code"),
        ({"born_from": "x"}, 400, "four figures"),
        ({"ids": "1 or 1"}, 400, "no whole number"),
        ({"show": "all"}, 400, "no such view"),
        ({"show": "map", "x": "nan"}, 400, "no such place"),
        ({"show": "map", "zoom": "99"}, 400, "no such place"),
        ({"task": "luck"}, 200, "unknown task"),
        ({"show": "map", "colour": "task"}, 200, "choose a task"),
    ],
)
def test_what_is_no_cohort_is_said(alice: TestClient, fields: dict[str, str], status: int, words: str) -> None:
    answer = alice.post("/cohort", data={"token": token(alice.get("/cohort").text), **fields})
    assert (answer.status_code, words in answer.text) == (status, True)


def test_the_window_of_the_map_stays_on_it() -> None:
    near = wanted({"x": "0.9", "y": "0.1", "move": "in"})
    assert (near.x, near.y, near.zoom, near.show) == (0.75, 0.25, 1, "map")
    assert wanted({"x": "0.75", "zoom": "1", "move": "right"}).x == 0.75
    assert wanted({"move": "out"}) == Wanted(show="map")


def test_a_map_shows_the_two_directions_of_most_variance() -> None:
    random = np.random.default_rng(1)
    spread = np.array([9, 5, *[3] * 20, *[1] * 42])
    turn, _ = np.linalg.qr(random.standard_normal((64, 64)))
    vectors = ((random.standard_normal((300, 64)) * spread) @ turn).astype(np.float32)
    centred = vectors - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    found = projected(vectors)
    for place, direction in zip(found.T, directions[:, :-3:-1].T, strict=True):
        assert abs(np.corrcoef(place, centred @ direction)[0, 1]) > 0.999
    assert (found.min(), found.max()) == (0, 1)
    assert (projected(vectors) == found).all()


def test_models_are_listed_and_one_without_labels_says_so(alice: TestClient) -> None:
    assert 'href="/models/sepsis"' in alice.get("/models").text
    page = alice.get("/models/sepsis").text
    assert "nothing can be drawn" in page
    assert "Model card" in page
    assert alice.get("/models/luck").status_code == 404


EVALUATED = (
    "insert into ehrdb.evaluation (task, model, k, auroc, evaluated_at, is_evaluated, replicates, test_labels, auprc,"
    " brier) values ('sepsis', %s, %s, %s, %s, false, 1, 500, .5, .25)"
)


def test_the_newest_evaluation_that_was_kept_is_shown_first_where_most_was_learned(hospital: Database) -> None:
    alice = as_user(hospital, ALICE)
    assert "No evaluation was kept" in alice.get("/models").text
    with hospital.transaction() as connection:
        for row in (("mini", -1, 0.8), ("counts", -1, 0.83), ("mini", 8, 0.71)):
            connection.execute(EVALUATED, [*row, "2026-02-01"])
        connection.execute(EVALUATED, ["mini", -1, 0.9, "2026-01-01"])
    pages = alice.get("/models").text, alice.get("/models/sepsis").text
    shown = [re.findall(r'<td class="number">(0\.[789]\d0)', page) for page in pages]
    assert shown == [["0.830", "0.800"], ["0.830", "0.800", "0.710"]]


def test_months_that_can_be_judged_are_shown_of_the_serving_head(hospital: Database) -> None:
    alice = as_user(hospital, ALICE)
    assert "ehrdb monitor sepsis" in alice.get("/models/sepsis").text
    with hospital.transaction() as connection:
        connection.execute(
            "insert into ehrdb.head_month (head_id, month, labels, patients, predicted, observed, verdict)"
            " select h.head_id, m.* from ehrdb.head h,"
            " (values (date '2020-01-01', 30, 20, .25, .5, 'predicts too little'),"
            "         ('2020-02-01', 5, 5, null, null, 'too few')) m"
        )
    page = alice.get("/models/sepsis").text
    assert "predicts too little" in page
    assert "2020-02" not in page


def test_outcomes_need_a_past_moment_and_a_known_outcome(alice: TestClient) -> None:
    sent = {"token": token(alice.get("/find").text), "outcome": "sepsis"}
    assert alice.post("/patients/1/outcomes", data=sent).status_code == 400
    past = sent | {"as_of": "2020-01-22", "outcome": "luck"}
    assert alice.post("/patients/1/outcomes", data=past).status_code == 404


@pytest.mark.parametrize(("sample", "found", "said"), [(4, 4, True), (9, 9, True), (100, 9, False)])
def test_the_nearest_whose_outcomes_are_counted_are_of_a_fixed_sample_and_the_page_says_so(
    hospital: Database, alice: TestClient, monkeypatch: pytest.MonkeyPatch, sample: int, found: int, said: bool
) -> None:
    monkeypatch.setattr(outcomes, "SAMPLE", sample)
    sent = {"token": token(alice.get("/find").text), "as_of": "2020-02-28", "outcome": "sepsis"}
    page = alice.post("/patients/1/outcomes", data=sent).text
    assert (f"of a fixed sample of {sample} patients" in page) == said
    values = {"patient_id": 1, "as_of": datetime(2020, 2, 28), "outcome": "sepsis", "near": 100, "others": 1000}
    asking = Client(hospital.acting_as(ALICE), Settings(), "rows", ExitStack())
    rows = rows_of(asking, queries.outcome_times, values | {"sample": views.sample(asking, 1, sample)})
    near, others = ({row["patient_id"] for row in outcomes.of_group(rows, name)} for name in ("nearest", "others"))
    assert near == others
    assert len(near) == found


def test_the_nearest_at_a_past_day_are_of_a_fixed_sample_unless_everybody_is_asked_for(
    hospital: Database, alice: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ehrdb.page.views.SAMPLE", 2)
    past = "/patients/1?as_of=2020-02-28T00:00:00"
    sampled, everybody, today = (alice.get(url).text for url in (past, f"{past}&alike=everybody", "/patients/1"))
    assert "Of a fixed sample of 2 patients" in sampled
    assert "alike=everybody#alike" in sampled
    assert [text.count('<a class="second"') for text in (sampled, everybody, today)] == [2, 6, 6]
    assert "fixed sample" not in everybody + today


NOW = datetime(2020, 1, 1)


def followed(positive: int, negative: int, days: int = 20) -> Rows:
    late = NOW + timedelta(days=1000)
    return [{"at": NOW + timedelta(days=days), "last": late}] * positive + [{"at": None, "last": late}] * negative


@pytest.mark.parametrize(("positive", "negative"), [(10, 50), (1, 50), (50, 10)])
def test_counts_of_one_to_ten_are_withheld(positive: int, negative: int) -> None:
    assert [share.share for share in shares(followed(positive, negative), NOW)] == [None] * 5


def test_shares_cumulate_and_no_difference_of_two_tells_of_few() -> None:
    rows = followed(20, 60) + followed(5, 0, days=60) + followed(8, 0, days=120)
    found = [(share.days, share.with_outcome) for share in shares(rows, NOW)]
    assert found == [(30, 20), (90, None), (180, 33), (365, 33), (730, 33)]


def test_who_left_before_the_horizon_without_the_outcome_is_not_followed() -> None:
    rows: Rows = [*followed(20, 20), *([{"at": None, "last": NOW + timedelta(days=100)}] * 15)]
    assert [share.followed for share in shares(rows, NOW)] == [55, 55, 40, 40, 40]


def predictions(count: int, *, year: int = 2020) -> Rows:
    return [
        {"patient_id": n, "label": n % 2, "probability": 0.9 if n % 2 else 0.1, "year": year, "sex": "F", "age": 50}
        for n in range(count)
    ]


def test_calibration_is_drawn_in_bands_of_eleven_patients_or_more() -> None:
    found = calibration(predictions(60))
    assert found is not None
    assert all(band.patients >= 11 for band in found["bands"])
    assert found["error"] == pytest.approx(0.1)
    assert calibration(predictions(10)) is None


def test_subgroups_and_years_of_fewer_than_eleven_are_withheld() -> None:
    assert [row["auroc"] for row in subgroups(predictions(60))] == [1.0, 1.0]
    assert [row["auroc"] for row in subgroups(predictions(20))] == [None, None]
    assert subgroups(predictions(10)) == []
    years = by_year(predictions(40) + predictions(20, year=2021) + predictions(10, year=2022))
    assert [(row["year"], row["observed"]) for row in years] == [(2020, 0.5), (2021, None)]


def test_bars_and_dots_stay_in_their_fields() -> None:
    drawn = bars([0, 1, 1000], 40)
    assert [bar.height for bar in drawn] == [0, 2, 40]
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH and bar.y + bar.height == 40 for bar in drawn)
    assert (love(-9), love(0), love(9), love(None)) == (0, 100, 200, None)
