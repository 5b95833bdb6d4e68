"""Counts of codes beside the vector: SQL gives what scikit-learn gave, as of any moment."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from ehrdb.database import Connection, Database
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.evaluation.question import from_database
from ehrdb.prediction import heads, stored_counts
from ehrdb.prediction.stored_counts import combined_targets
from ehrdb.prediction.training import embed_labels, load_targets, train
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write

PATIENTS = 120


def make(encoder: RegisteredEncoder) -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture(autouse=True)
def only_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """One C, large enough that every count matters."""
    monkeypatch.setattr(heads, "C_GRID", (1.0,))


def record(patient: int) -> list[Record]:
    """Codes with ancestors, texts, numbers, both together, a long text or none, something in each age bin.

    A code of the patient's own gives each vector away to chance.
    """
    kind = patient % 3
    ages = {"Old/A": 400, "Old/B": 200, "Old/C": 31}
    long_ago = [Record(patient, day(2) - timedelta(days=days), code) for code, days in ages.items() if patient % 4]
    return [
        *long_ago,
        *(Record(patient, day(1, hour), f"ICD/{kind}{hour % 2}") for hour in range(1 + patient % 4)),
        Record(patient, day(1), "Lab/K", value=float(patient * 7 % 10)),
        Record(patient, day(1, 9), "Lab/K", value=0.5, text="high"),
        Record(patient, day(1), "Culture", text="positive" if kind else "negative"),
        Record(patient, day(1), "Note", text="x" * 300 if patient % 5 else None),
        Record(patient, day(1), f"Own/{patient}"),
        Record(patient, day(2), "Visit/IP"),
        Record(patient, day(29), f"SNOMED/{patient}"),
    ]


@pytest.fixture
def encoder(database: Database) -> RegisteredEncoder:
    """One stay for each patient, long for those whose codes begin with ICD/0."""
    with database.transaction() as connection:
        write(connection, [entry for patient in range(1, PATIENTS + 1) for entry in record(patient)])
        write(connection, [Record(1, day(1), "ICD"), Record(1, day(1), "ICD/0")])
        connection.execute(
            "update ehrdb.event e set visit_class = 'inpatient',"
            "       end_time = time + case when patient_id % 3 = 0 then interval '8 days' else interval '2 days' end"
            "  from ehrdb.concept c where c.code_id = e.code_id and c.code = 'Visit/IP'"
        )
        for child, parent in [("ICD/00", "ICD/0"), ("ICD/01", "ICD/0"), ("ICD/0", "ICD"), ("ICD/10", "ICD")]:
            connection.execute(
                "insert into ehrdb.concept_parent (child_id, parent_id)"
                " select c.code_id, p.code_id from ehrdb.concept c, ehrdb.concept p where c.code = %s and p.code = %s",
                [child, parent],
            )
        return add_encoder(connection)


def probabilities(connection: Connection, as_of: str = "infinity") -> dict[int, float]:
    return dict(
        connection.execute(
            "select patient_id, probability from ehr.predict_cohort('guo_los', as_of => %s::timestamp)", [as_of]
        ).fetchall()
    )


def test_sql_gives_scikit_learns_probabilities_at_every_label(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "guo_los", with_counts=True, calibrate=False)
    prompt = embed_labels(database, encoder, make, "guo_los")
    with database.transaction() as connection:
        (target,), _ = combined_targets(connection, load_targets(database, encoder, "guo_los", prompt))
        question = from_database(connection, [encoder], {"fake": {"guo_los": prompt}}, set(), with_counts=True)
        known = connection.execute(
            "select l.patient_id, ehr.predict('guo_los', l.patient_id, l.prediction_time) from ehr.label l"
        ).fetchall()
    test = target.test
    head = question.trainers["fake with counts"](
        target.features[target.train.row], target.train.labels, target.features[target.val.row], target.val.labels
    )
    of_patient = dict(known)
    expected = head.probability(target.features[test.row])
    found = [of_patient[patient] for patient in test.patient_id.tolist()]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.ptp(expected) > 0.5


def test_the_code_that_decides_is_found_where_the_vector_alone_does_not_know(
    database: Database, encoder: RegisteredEncoder
) -> None:
    (alone,) = train(database, encoder, make, "guo_los")
    (both,) = train(database, encoder, make, "guo_los", with_counts=True)
    assert alone.test["auroc"] is not None
    assert alone.test["auroc"] < 0.9
    assert both.test["auroc"] == 1
    assert both.has_counts


def test_one_patient_and_the_cohort_agree(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "guo_los", with_counts=True)
    with database.transaction() as connection:
        cohort = probabilities(connection)
        each = dict(connection.execute("select p, ehr.predict('guo_los', p) from generate_series(1, 20) p").fetchall())
    assert {patient: cohort[patient] for patient in each} == each


def test_what_comes_later_does_not_change_what_was_probable(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "guo_los", with_counts=True)
    moment = "2020-01-02 23:59"
    with database.transaction() as connection:
        before = probabilities(connection, moment)
        write(connection, [Record(p, day(20), "ICD/00") for p in range(1, PATIENTS + 1)])
        assert probabilities(connection, moment) == before
    assert len(set(before.values())) > 10


def test_a_code_that_nobody_had_in_training_counts_for_its_ancestors(
    database: Database, encoder: RegisteredEncoder
) -> None:
    with database.transaction() as connection:
        write(connection, [Record(PATIENTS + 1, day(1), "ICD/02")])
        connection.execute(
            "insert into ehrdb.concept_parent (child_id, parent_id)"
            " select c.code_id, p.code_id from ehrdb.concept c, ehrdb.concept p"
            "  where c.code = 'ICD/02' and p.code = 'ICD/0'"
        )
    train(database, encoder, make, "guo_los", with_counts=True)
    with database.transaction() as connection:
        weights = connection.execute(
            "select c.code, w.feature, w.weights from ehrdb.head_count w join ehrdb.concept c using (code_id)"
            " where c.code in ('ICD/02', 'ICD/0') order by 1, 2"
        ).fetchall()
    of = {code: [(number, weight) for name, number, weight in weights if name == code] for code in ("ICD/02", "ICD/0")}
    assert of["ICD/02"] == of["ICD/0"] != []


def test_what_few_patients_have_is_kept_nowhere(
    database: Database, encoder: RegisteredEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), "Culture", text="rare") for p in range(1, 11) for _ in range(2)])
    found = []
    for fewest in (stored_counts.FEWEST_PATIENTS, 10):
        monkeypatch.setattr(stored_counts, "FEWEST_PATIENTS", fewest)
        train(database, encoder, make, "guo_los", with_counts=True)
        with database.transaction() as connection:
            rows = connection.execute("select from ehrdb.head_count where text = 'rare'").fetchall()
        found.append(bool(rows))
    assert found == [False, True]


def test_a_head_trained_anew_without_counts_reads_the_vector_alone(
    database: Database, encoder: RegisteredEncoder
) -> None:
    train(database, encoder, make, "guo_los")
    with database.transaction() as connection:
        alone = probabilities(connection)
    train(database, encoder, make, "guo_los", with_counts=True)
    train(database, encoder, make, "guo_los")
    with database.transaction() as connection:
        assert probabilities(connection) == pytest.approx(alone, abs=1e-9)
        assert connection.execute("select from ehrdb.head_count").fetchone() is None
        assert connection.execute("select count_bins from ehrdb.head").fetchall() == [(None,)]
