"""`--at`: patients each as of a moment of their own, from the command line; and `ehrdb risk`."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ehrdb.client import connect
from ehrdb.database import Database
from ehrdb.testing import FakeEncoder
from tests.cli.conftest import Here
from tests.filled import filled_once
from tests.records import Record, add_encoder, add_head, day, write

CASES, CONTROLS = "select p, timestamp '2020-01-05' from generate_series(1, 2) p", "controls.csv"


def fill(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(d), f"Visit/{p}-{d}") for p in range(1, 7) for d in (2, 8)])
        connection.execute("update ehrdb.event set visit_class = 'outpatient'")
        connection.execute(
            "insert into ehrdb.task values ('death', 'own', 'binary', 'a task', '{\"shape\": \"imported\"}')"
        )
        add_head(connection, "death", add_encoder(connection))


@pytest.fixture(scope="session")
def template(server_url: str, owner_url: str, template: str) -> Iterator[str]:
    """Six patients with two visits and a head; nothing is embedded."""
    with filled_once(server_url, owner_url, template, "index_dates", fill) as name:
        yield name


@pytest.fixture
def asked(ehrdb: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """Of them, cases in a query and controls in a file."""
    for place in ("ehrdb.cli.refresh.load_encoder", "ehrdb.client.load_encoder"):
        monkeypatch.setattr(place, lambda *_: FakeEncoder())
    rows = "".join(f"{p},2020-01-0{p}\n" for p in (3, 4, 5, 6))
    (tmp_path / CONTROLS).write_text(f"subject_id,cohort_start_date\n{rows}")
    return ehrdb


def answer(result: subprocess.CompletedProcess[str]) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def embed(asked: Here) -> None:
    assert answer(asked("refresh", "--at", CASES, "--json"))["moments"] == 2
    assert "4 index dates are kept" in asked("refresh", "--at", CONTROLS).stderr


def test_a_refresh_says_of_how_many_pairs_there_is_nothing(asked: Here) -> None:
    result = asked("refresh", "--at", "select p, timestamp '2020-01-05' from generate_series(6, 8) p")
    assert (result.returncode, "3 index dates are kept; of 2 there is nothing to embed" in result.stderr) == (0, True)


def test_probabilities_are_of_each_at_his_moment(asked: Here) -> None:
    embed(asked)
    rows = answer(asked("predict", "death", "--at", CONTROLS, "--json"))
    assert [(row["patient_id"], row["as_of"], row["reason"]) for row in rows] == [
        (p, f"2020-01-0{p}T00:00:00", None) for p in (3, 4, 5, 6)
    ]
    shown = asked("predict", "death", "--at", CASES)
    assert (shown.returncode, "…" in shown.stdout, "position" in shown.stdout) == (0, False, True)


def test_timelines_are_as_of_each_moment(asked: Here) -> None:
    rows = answer(asked("timeline", "--at", "select p, timestamp '2020-01-05' from generate_series(6, 7) p", "--json"))
    assert [(row["patient_id"], row["text"]) for row in rows] == [(6, "text of Visit/6-2"), (7, "")]
    shown = asked("timeline", "--at", CONTROLS)
    assert (shown.returncode, shown.stdout.count("as known at 2020-01-0")) == (0, 4)
    assert "text of Visit/3-2" in shown.stdout
    assert "Visit/3-8" not in shown.stdout


def test_risks_are_explained_as_of_each_moment_or_it_is_said_why_not(asked: Here) -> None:
    pairs = "values (1, timestamp '2020-01-05'), (1, timestamp '2020-01-09'), (9, timestamp '2020-01-09')"
    first, second, unknown = answer(asked("explain", "death", "--at", pairs, "--json"))
    assert "less than two lines" in first["reason"]
    assert {line["text"] for line in second["lines"]} == {"text of Visit/1-2", "text of Visit/1-8"}
    assert unknown["reason"] == "unknown patient 9"
    shown = asked("explain", "death", "--at", pairs)
    assert (shown.returncode, shown.stdout.count("as known at")) == (0, 3)
    assert asked("explain", "nothing", "--at", pairs).returncode != 0


def test_an_explanation_that_fails_at_one_moment_is_said_and_the_others_are_shown(
    asked: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ehrdb.client.load_encoder", lambda *_: FakeEncoder(poison="Visit/2-2"))
    pairs = "select p, timestamp '2020-01-09' from generate_series(1, 3) p"
    result = asked("explain", "death", "--at", pairs, "--json")
    first, failed, third = json.loads(result.stdout)
    assert (result.returncode, failed["is_failure"]) == (1, True)
    assert "not finite" in failed["reason"]
    assert [len(answer["lines"]) for answer in (first, third)] == [2, 2]
    shown = asked("explain", "death", "--at", pairs)
    assert (shown.returncode, shown.stdout.count("as known at")) == (1, 3)


def test_explanations_of_moments_say_how_many_are_done(asked: Here, database: Database) -> None:
    seen: list[tuple[int, int]] = []
    with connect(database.url) as db:
        pairs = [(9, day(2)), (8, day(2))]
        db.explain_risk_at("death", pairs, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 2), (1, 2)]


def test_the_nearest_are_among_the_candidates(asked: Here) -> None:
    embed(asked)
    rows = answer(asked("nearest", "--at", CASES, "--candidates-at", CONTROLS, "--k", "2", "--json"))
    assert [(row["position"], row["rank"]) for row in rows] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert {row["neighbour_id"] for row in rows} <= {3, 4, 5, 6}


def test_a_match_has_moments_and_a_balance(asked: Here, tmp_path: Path) -> None:
    embed(asked)
    options = ("--at", CASES, "--candidates-at", CONTROLS, "--ratio", "2")
    found = answer(asked("match", *options, "--out", "pairs.csv", "--json"))
    assert {pair["control_id"] for pair in found["pairs"]} == {3, 4, 5, 6}
    assert {row["covariate"] for row in found["balance"]} >= {"female", "years of record"}
    with (tmp_path / "pairs.csv").open() as file:
        assert [int(row["control_id"]) for row in csv.DictReader(file)] == [p["control_id"] for p in found["pairs"]]
    assert "4 controls for 2 of 2 cases" in asked("match", *options).stderr


def test_a_match_without_controls_says_why(asked: Here) -> None:
    answer(asked("refresh", "--at", CASES, "--json"))
    result = asked("match", "--at", CASES, "--candidates-at", CONTROLS)
    assert (result.returncode, "candidates are not embedded as of their moments" in result.stderr) == (0, True)


def test_a_risk_has_a_row_for_each_visit_and_embeds_it_if_told(asked: Here) -> None:
    answer(asked("refresh", "--json"))
    first = asked("risk", "death", "1")
    assert (first.returncode, "1 moments are not embedded: ehrdb risk death 1 --embed" in first.stderr) == (0, True)
    rows = answer(asked("risk", "death", "1", "--embed", "--json"))
    assert [(row["as_of"], row["events"], row["reason"]) for row in rows] == [
        ("2020-01-02T08:00:00", 1, None),
        ("2020-01-08T08:00:00", 2, None),
    ]
    shown = asked("risk", "death", "1").stdout
    assert "2020-01-02 08:00" in shown
    assert "Of all labels 50.0% are positive" in " ".join(shown.split())
    (row,) = answer(asked("risk", "death", "1", "--moment", "2020-01-05", "--json"))
    assert (row["events"], row["probability"]) == (1, rows[0]["probability"])


def test_a_head_without_a_base_rate_says_none(asked: Here, database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("update ehrdb.head set base_rate = null")
    answer(asked("refresh", "--json"))
    shown = " ".join(asked("risk", "death", "1").stdout.split())
    assert ("a task The head was trained on" in shown, "Of all labels" in shown) == (True, False)


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "death", "1", "--at", CASES],
        ["predict", "--at", CASES],
        ["timeline"],
        ["timeline", "1", "--at", CASES],
        ["explain", "death"],
        ["explain", "death", "1", "--at", CASES],
        ["nearest"],
        ["nearest", "1", "--at", CASES],
        ["nearest", "1", "--candidates-at", CASES],
        ["nearest", "--at", CASES, "--as-of", "2020-01-01"],
        ["match"],
        ["match", "select 1", "--at", CASES, "--candidates-at", CASES],
        ["match", "--at", CASES],
        ["match", "--at", CASES, "--candidates-at", CASES, "--as-of", "2020-01-01"],
        ["refresh", "--at", " "],
    ],
)
def test_what_does_not_go_together_is_refused(asked: Here, words: list[str]) -> None:
    result = asked(*words)
    assert (result.returncode, result.stderr.startswith("error: ")) == (2, True), result
