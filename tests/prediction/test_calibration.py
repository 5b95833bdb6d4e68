"""Calibration: what SQL makes of log odds is what was fitted, and each probability has beside it what belongs to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pgvector import Vector

from ehrdb.client import connect
from ehrdb.config import Settings
from ehrdb.database import Connection, Database, register_vectors
from ehrdb.embedding import refresh
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.prediction.calibration import Calibration, Curve, Method, fit, isotonic, platt
from ehrdb.prediction.training import train
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write

PATIENTS = 120
METHODS: list[Method] = ["platt", "isotonic"]


def make(encoder: RegisteredEncoder) -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def encoder(database: Database) -> RegisteredEncoder:
    """Patients with one event each and a label: every third is positive."""
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), f"SNOMED/{p % 7}") for p in range(1, PATIENTS + 1)])
        connection.execute("insert into ehrdb.task values ('odd', 'test', 'binary', '', '{\"shape\": \"imported\"}')")
        connection.execute(
            "insert into ehrdb.label select 'odd', p, %s, (p %% 3 = 0)::integer from generate_series(1, %s) p",
            [day(1), PATIENTS],
        )
        return add_encoder(connection)


def calibration_of(connection: Connection) -> Calibration:
    """What the database keeps of it."""
    row = connection.execute(
        "select calibration_slope, calibration_shift, curve_at, curve_value, bounds_at, bounds_lower, bounds_upper"
        "  from ehrdb.head"
    ).fetchone()
    assert row is not None
    slope, shift, *points = row
    at, value, bounds_at, lower, upper = (None if each is None else np.array(each) for each in points)
    curve = None if at is None or value is None else Curve(at, value)
    assert bounds_at is not None
    assert lower is not None
    assert upper is not None
    return Calibration(slope, shift, curve, Curve(bounds_at, lower), Curve(bounds_at, upper))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("as_of", ["infinity", "2020-01-01 12:00"])
def test_sql_follows_the_fitted_calibration_and_its_bounds(
    database: Database, encoder: RegisteredEncoder, method: Method, as_of: str
) -> None:
    train(database, encoder, make, "odd", calibration=method)
    with database.transaction() as connection:
        rows = connection.execute(
            "select p.probability, p.lower, p.upper, ehr.predict('odd', p.patient_id, %(as_of)s),"
            "       ehrdb.head_logit(h.weights, h.intercept, ehrdb.as_vector(ehr.embedding(p.patient_id)), h.head_id,"
            "                        h.count_bins, h.age_weight, p.patient_id, p.known_until)"
            "  from ehr.predict_cohort('odd', as_of => %(as_of)s) p join ehrdb.head h using (head_id)",
            {"as_of": as_of},
        ).fetchall()
        calibration = calibration_of(connection)
    probability, lower, upper, alone, logit = np.array(rows).T
    assert (calibration.curve is not None) == (method == "isotonic")
    assert calibration.lower is not None
    assert calibration.upper is not None
    np.testing.assert_allclose(probability, calibration(logit), atol=1e-12)
    np.testing.assert_array_equal(probability, alone)
    np.testing.assert_allclose(lower, np.minimum(probability, calibration.lower(logit)), atol=1e-12)
    np.testing.assert_allclose(upper, np.maximum(probability, calibration.upper(logit)), atol=1e-12)
    assert (lower < upper).any()


def test_a_raw_head_has_no_bounds(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "odd", calibrate=False)
    with database.transaction() as connection:
        rows = connection.execute("select distinct lower, upper from ehr.predict_cohort('odd')").fetchall()
        card = connection.execute("select ehr.model_card('odd') -> 'calibration'").fetchone()
    assert rows == [(None, None)]
    assert card == (None,)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.floats(-900, 900), st.booleans()), min_size=2, max_size=40), st.integers(0, 10_000))
def test_isotonic_probabilities_never_fall_and_are_never_certain(rows: list[tuple[float, bool]], seed: int) -> None:
    logits = np.array([logit for logit, _ in rows])
    labels = np.array([int(label) for _, label in rows])
    found = isotonic(logits, labels)(np.sort(np.random.default_rng(seed).uniform(-1000, 1000, 50)))
    assert (np.diff(found) >= 0).all()
    assert 0 < found.min() <= found.max() < 1


knots = st.lists(st.floats(-50, 50), min_size=1, max_size=8, unique=True).map(sorted)


@given(knots, st.lists(st.floats(-60, 60), min_size=1, max_size=20), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sql_draws_lines_between_points_as_numpy_does(
    connection: Connection, at: list[float], x: list[float], seed: int
) -> None:
    heights = np.random.default_rng(seed).uniform(0, 1, len(at)).tolist()
    rows = connection.execute(
        "select ehrdb.at_knots(x, %s::float8[], %s::float8[]) from unnest(%s::float8[]) x", [at, heights, x + at]
    ).fetchall()
    np.testing.assert_allclose([height for (height,) in rows], np.interp(x + at, at, heights), atol=1e-9)


def width(calibration: Calibration) -> float:
    """How far the bounds are apart at even odds."""
    assert calibration.lower is not None
    assert calibration.upper is not None
    at = np.array([0.0])
    return float((calibration.upper(at) - calibration.lower(at))[0])


@given(st.lists(st.tuples(st.floats(-50, 50), st.booleans(), st.integers(0, 3)), min_size=2, max_size=20))
def test_platt_scaling_is_finite_whatever_was_drawn(rows: list[tuple[float, bool, int]]) -> None:
    logits, labels, weights = (np.array([row[place] for row in rows], dtype=float) for place in range(3))
    found = platt(logits, labels.astype(np.int64), weights + (weights.sum() == 0))
    assert np.isfinite([found.slope, found.shift]).all()
    assert ((found(logits) > 0) & (found(logits) < 1)).all()


def test_platt_scaling_stops_at_the_smallest_loss() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 80)
    logits = labels + random.standard_normal(80)
    found = platt(logits, labels)
    target = np.where(labels == 1, (labels.sum() + 1) / (labels.sum() + 2), 1 / (80 - labels.sum() + 2))
    residual = found(logits) - target  # both derivatives of the loss are zero
    assert abs(residual.sum()) + abs((residual * logits).sum()) < 1e-4


def test_more_rows_of_the_same_patients_do_not_narrow_the_bounds() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 80)
    logits, patients = labels + random.standard_normal(80), np.arange(80)
    once = fit("platt", logits, labels, patients)
    often = fit("platt", np.tile(logits, 9), np.tile(labels, 9), np.tile(patients, 9))
    assert width(often) / width(once) == pytest.approx(1, abs=0.15)


def test_each_probability_has_its_head_and_base_rate_beside_it(database: Database, encoder: RegisteredEncoder) -> None:
    question = (
        "select distinct p.head_id, p.base_rate from ehr.predict_cohort('odd') p"
        "  join ehr.head h using (head_id) where h.task = 'odd' and h.base_rate = p.base_rate"
    )
    heads = []
    for _ in range(2):
        train(database, encoder, make, "odd")
        with database.transaction() as connection:
            ((head_id, base_rate),) = connection.execute(question).fetchall()
        heads.append(head_id)
        assert base_rate == pytest.approx(40 / PATIENTS)
    assert heads[0] != heads[1]


def test_kept_probabilities_say_that_the_record_has_changed(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "odd")
    question = "select patient_id from ehr.prediction where is_stale"
    with database.transaction() as connection:
        connection.execute("select ehrdb.store_predictions(null, null)")
        assert connection.execute(question).fetchall() == []
        write(connection, [Record(7, day(20), "SNOMED/99")])
        assert connection.execute(question).fetchall() == [(7,)]
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        assert connection.execute(question).fetchall() == [(7,)]
        connection.execute("select ehrdb.store_predictions(null, null)")
        assert connection.execute(question).fetchall() == []


def test_one_patients_risk_is_told_with_what_belongs_to_it(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "odd")
    with connect(database.url, settings=Settings(), frames="rows") as db:
        found = db.risk("odd", 5)
        assert db.probability("odd", 5) == found.probability
    assert found.lower is not None
    assert found.upper is not None
    assert found.lower <= found.probability <= found.upper
    assert (found.base_rate, found.known_until, found.is_stale) == (40 / PATIENTS, day(1), False)
    assert "0.3333 of the labels positive, from the record to 2020-01-01" in str(found)


def test_a_head_of_many_dimensions_is_kept(connection: Connection) -> None:
    add_encoder(connection)
    register_vectors(connection)
    connection.execute("insert into ehrdb.task values ('odd', 'test', 'binary', '', '{\"shape\": \"imported\"}')")
    connection.execute(
        "insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance)"
        " select 'odd', 'odd', encoder_id, prompt_id, %s, 0, '{}' from ehrdb.encoder",
        [Vector(np.random.default_rng(0).standard_normal(8192))],
    )
    assert connection.execute("select public.vector_dims(weights) from ehrdb.head").fetchone() == (8192,)
