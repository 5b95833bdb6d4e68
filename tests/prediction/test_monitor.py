"""Month by month: predicted against observed, and whether inputs drift."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np
import psycopg
import pytest
from pgvector import HalfVector, Vector
from typer.testing import CliRunner

from ehrdb.cli import app
from ehrdb.database import Connection, Database, register_vectors
from ehrdb.embedding.metrics import StatusCollector
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.prediction.training import train
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write

JANUARY, MARCH, APRIL = datetime(2020, 1, 15), datetime(2020, 3, 15), datetime(2020, 4, 15)
UNTIL = datetime(2020, 2, 1)
Scored = tuple[int, datetime, float, int]


@pytest.fixture
def encoder(database: Database) -> RegisteredEncoder:
    """A head that takes a vector's first number for log odds, and learned from labels up to February."""
    with database.transaction() as connection:
        register_vectors(connection)
        found = add_encoder(connection)
        connection.execute("insert into ehrdb.task values ('odd', 'test', 'binary', '', '{\"shape\": \"imported\"}')")
        connection.execute(
            "insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance)"
            " values ('odd', 'odd', %s, %s, %s, 0, %s)",
            [
                found.encoder_id,
                found.prompt_id,
                Vector([1.0, *[0.0] * 7]),
                json.dumps({"labels_until": UNTIL.isoformat()}),
            ],
        )
    return found


def score(connection: Connection, encoder: RegisteredEncoder, rows: Iterable[Scored], *, split: str = "test") -> None:
    """Labels with vectors of these log odds: (patient, moment, log odds, label)."""
    register_vectors(connection)
    rows = list(rows)
    write(connection, [Record(patient, moment, "SNOMED/1") for patient, moment, _, _ in rows])
    connection.execute("update ehrdb.patient set split = %s where patient_id = any (%s)", [split, [r[0] for r in rows]])
    for number, (patient, moment, odds, label) in enumerate(rows):
        values: dict[str, Any] = {"encoder": encoder.encoder_id, "prompt": encoder.prompt_id, "patient": patient}
        values |= {"moment": moment, "label": label, "content": f"{patient} {moment} {number}".encode()}
        values["vector"] = HalfVector([odds, *[0.0] * 7])
        connection.execute(
            "insert into ehrdb.embedding (encoder_id, content_sha256, token_count, is_truncated, embedding)"
            " values (%(encoder)s, %(content)s, 1, false, %(vector)s)",
            values,
        )
        connection.execute(
            "insert into ehrdb.embedding_point (encoder_id, prompt_id, patient_id, as_of, is_current, content_sha256)"
            " values (%(encoder)s, %(prompt)s, %(patient)s, %(moment)s, false, %(content)s)",
            values,
        )
        connection.execute("insert into ehrdb.label values ('odd', %(patient)s, %(moment)s, %(label)s)", values)


def even(first: int, count: int, moment: datetime, share: float, odds: float = 0.0) -> list[Scored]:
    """Patients of these log odds, the given share of whom are positive."""
    return [(first + n, moment, odds, int(n < share * count)) for n in range(count)]


def months(connection: Connection, columns: str = "month::text, verdict") -> list[tuple[Any, ...]]:
    return connection.execute(f"select {columns} from ehr.monitor()".encode()).fetchall()  # noqa: S608


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.5, "as expected"), (0.2, "predicts too much"), (0.8, "predicts too little")]
)
def test_a_month_is_judged_by_what_came_about(
    database: Database, encoder: RegisteredEncoder, share: float, verdict: str
) -> None:
    with database.transaction() as connection:
        score(connection, encoder, [*even(1, 50, JANUARY, 0.5), *even(101, 50, MARCH, share)])
        columns = "month::text, labels, patients, predicted, observed, verdict"
        assert months(connection, columns) == [
            ("2020-01-01", 50, 50, 0.5, 0.5, "as expected"),
            ("2020-03-01", 50, 50, 0.5, share, verdict),
        ]


def test_chance_is_no_verdict(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        score(connection, encoder, even(1, 20, MARCH, 0.7))  # 14 of 20 where 10 were expected: 1.8 standard deviations
        assert months(connection) == [("2020-03-01", "as expected")]


def test_few_patients_are_not_judged_and_not_shown(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        score(connection, encoder, [*even(1, 10, JANUARY, 0), *even(101, 11, MARCH, 0)])
        found = months(connection, "month::text, predicted, observed, population_stability, unknown_codes, verdict")
    assert found[0] == ("2020-01-01", None, None, None, None, "too few")
    assert (found[1][1], found[1][2], found[1][-1]) == (0.5, 0, "predicts too much")


def test_labels_that_a_head_learned_from_do_not_count(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        score(connection, encoder, [*even(1, 20, JANUARY, 0.5), *even(101, 20, MARCH, 0.5)], split="train")
        assert months(connection) == [("2020-03-01", "as expected")]
        score(connection, encoder, even(301, 20, JANUARY, 0.5))
        assert months(connection, "month::text, labels") == [("2020-01-01", 20), ("2020-03-01", 20)]


def test_scores_that_shift_are_told_and_measured(database: Database, encoder: RegisteredEncoder) -> None:
    random = np.random.default_rng(0)
    before, same, other = random.normal(0, 1, 200), random.normal(0, 1, 200), random.normal(1.5, 1, 200)
    rows = []
    for month, (moment, odds) in enumerate(((JANUARY, before), (MARCH, same), (APRIL, other))):
        labels = random.random(200) < 1 / (1 + np.exp(-odds))
        rows += [
            (1000 * month + n, moment, float(o), int(y)) for n, (o, y) in enumerate(zip(odds, labels, strict=True))
        ]
    with database.transaction() as connection:
        score(connection, encoder, rows)
        found = months(connection, "population_stability, verdict")
    assert [verdict for _, verdict in found] == ["as expected", "as expected", "scores have shifted"]
    tenths = np.quantile(np.float16(before).astype(float), np.linspace(0.1, 0.9, 9))
    here, there = (
        (np.bincount(np.searchsorted(tenths, np.float16(x).astype(float), side="right"), minlength=10) + 0.5) / 205
        for x in (other, before)
    )
    assert found[2][0] == pytest.approx(((here - there) * np.log(here / there)).sum(), rel=0.05)


def test_codes_that_no_description_tells_are_told(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        score(connection, encoder, [*even(1, 50, JANUARY, 0.5), *even(101, 50, MARCH, 0.5)])
        write(connection, [Record(p, MARCH, f"LOCAL/{p % 3}") for p in range(101, 111)])
        connection.execute("update ehrdb.concept set description = null where code like 'LOCAL/%'")
        found = months(connection, "unknown_codes, verdict")
    assert found == [(0, "as expected"), (pytest.approx(10 / 60), "codes without words")]


@pytest.mark.parametrize(("task", "state"), [("nothing", "EH005"), ("bare", "EH006")])
def test_a_task_without_a_head_is_an_error(connection: Connection, task: str, state: str) -> None:
    add_encoder(connection)
    connection.execute("insert into ehrdb.task values ('bare', 'test', 'binary', '', '{\"shape\": \"imported\"}')")
    with pytest.raises(psycopg.Error) as caught:
        connection.execute("select * from ehr.monitor(array[%s])", [task])
    assert caught.value.sqlstate == state


def run(database: Database, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setenv("EHRDB_DATABASE_URL", database.url)
    found = CliRunner().invoke(app, ["monitor", *arguments])
    return found.exit_code, found.stdout, found.stderr


def gauges(database: Database) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in StatusCollector(database).collect()
        for sample in family.samples
        if sample.name == "ehrdb_head_alarm"
    }


def test_the_newest_month_decides_the_exit_status_and_a_workers_metric(
    database: Database, encoder: RegisteredEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gauges(database) == {}
    with database.transaction() as connection:
        score(connection, encoder, [*even(1, 50, JANUARY, 0.1), *even(101, 50, MARCH, 0.5), *even(201, 5, APRIL, 1)])
    status, told, verdict = run(database, monkeypatch)
    assert (status, "2020-01" in told, verdict) == (0, True, "odd: as expected in 2020-03\n")
    assert gauges(database) == {"ehrdb_head_alarm": 0}
    with database.transaction() as connection:
        score(connection, encoder, even(301, 50, APRIL, 0.1))
    status, told, _ = run(database, monkeypatch, "odd", "--json")
    assert (status, json.loads(told)["alarms"]) == (1, ["odd"])
    assert gauges(database) == {"ehrdb_head_alarm": 1}


def test_update_labels_anew_and_embeds_what_is_new(
    database: Database, encoder: RegisteredEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), f"SNOMED/{p % 7}") for p in range(1, 121)])
        connection.execute(
            "insert into ehrdb.label select 'odd', p, %s, (p %% 3 = 0)::integer from generate_series(1, 120) p",
            [day(1)],
        )
    (result,) = train(database, encoder, lambda _: FakeEncoder(), "odd")
    with database.transaction() as connection:
        write(connection, [Record(p, MARCH, "SNOMED/1") for p in range(1, 121)])
        connection.execute(
            "insert into ehrdb.label select 'odd', p, %s, (p %% 3 = 0)::integer from generate_series(1, 120) p", [MARCH]
        )
    monkeypatch.setattr("ehrdb.cli.monitor.load_encoder", lambda settings, encoder: FakeEncoder())
    found = [json.loads(run(database, monkeypatch, *extra, "--json")[1])["months"] for extra in ([], ["--update"])]
    assert [[row["labels"] for row in rows] for rows in found] == [
        [result.labels["test"]],
        [result.labels["test"], 120],
    ]
