"""Boosted trees on counts: their probabilities are stored, served and evaluated like a head's."""

from __future__ import annotations

import numpy as np
import pytest

from ehrdb.database import Database
from ehrdb.errors import TrainingError
from ehrdb.evaluation.evaluation import answer
from ehrdb.evaluation.question import prepare
from ehrdb.prediction.boosting import boost
from tests.prediction.ill import ask_who_is_ill
from tests.records import add_encoder


@pytest.fixture
def labelled(database: Database) -> Database:
    """A hundred patients, every second ill; of these seven of ten have the code that tells it, of the others one."""
    told = {p: p // 2 % 10 < (7 if p % 2 else 1) for p in range(1, 101)}
    ask_who_is_ill(database, {p: f"SNOMED/{int(has)}" for p, has in told.items()})
    return database


def served(database: Database) -> dict[int, float]:
    with database.transaction() as connection:
        asked = "select patient_id, probability from ehr.predict_cohort('ill', encoder => 'trees')"
        return dict(connection.execute(asked).fetchall())


def test_what_is_boosted_is_served_and_evaluated_like_a_head(labelled: Database) -> None:
    result = boost(labelled, "ill", "trees")
    assert result.labels == {"train": 40, "val": 30, "test": 30}
    question = prepare(labelled, lambda encoder: pytest.fail("no model is run"), ["ill"], ["trees"], set())
    run = answer(question, [-1], replicates=1).own[0]
    known = served(labelled)
    tested = question.targets["trees"][0].test.patient_id.tolist()
    assert run.probability == pytest.approx([known[patient] for patient in tested])
    assert run.metrics.auroc.score == pytest.approx(result.test["auroc"])
    with labelled.transaction() as connection:
        (card,) = connection.execute("select ehr.model_card('ill', 'trees')").fetchone() or ({},)
    assert card["test"] == pytest.approx(result.test)
    assert card["params"] == result.params


def test_boosted_probabilities_are_calibrated_on_the_validation_patients(labelled: Database) -> None:
    boost(labelled, "ill", "trees", calibration=None)
    raw = served(labelled)
    boost(labelled, "ill", "trees")
    known = served(labelled)
    validation = range(41, 71)
    ill = np.mean([patient % 2 for patient in validation])
    assert np.mean([known[patient] for patient in validation]) == pytest.approx(ill, abs=0.01)
    assert known != pytest.approx(raw, abs=1e-3)


def test_boosting_is_refused_where_labels_are_few(labelled: Database) -> None:
    with labelled.transaction() as connection:
        connection.execute("delete from ehrdb.label where value = 1 and patient_id < 30")
    with pytest.raises(TrainingError, match="too few labels"):
        boost(labelled, "ill", "trees")
    assert boost(labelled, "ill", "trees", accept_few=True).is_from_few


def test_boosted_probabilities_are_told_by_the_patients_code(labelled: Database) -> None:
    boost(labelled, "ill", "trees")
    with labelled.transaction() as connection:
        asked = "select patient_id from ehr.event where code = 'SNOMED/1'"
        told = {patient for (patient,) in connection.execute(asked).fetchall()}
    known = served(labelled)
    assert min(known[patient] for patient in told) > max(known[patient] for patient in known if patient not in told)


def test_the_first_encoder_serves_though_probabilities_were_stored_before(labelled: Database) -> None:
    boost(labelled, "ill", "trees")
    with labelled.transaction() as connection:
        encoder = add_encoder(connection)
        serving = connection.execute("select name from ehr.encoder where is_serving").fetchall()
    assert serving == [(encoder.name,)]
