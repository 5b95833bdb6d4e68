"""Findings of X-rays, each asked by an instruction of its own."""

from __future__ import annotations

import pytest

from ehrdb.database import Database
from ehrdb.embedding import registry
from ehrdb.errors import NotFound
from ehrdb.evaluation.question import Question, prepare
from ehrdb.prediction.boosting import boost
from ehrdb.prediction.targets import FINDINGS, finding_task
from ehrdb.prediction.training import train
from ehrdb.testing import FakeEncoder
from tests.records import Record, day, write

EDEMA, FRACTURE = (2 ** (len(FINDINGS) - 1 - FINDINGS.index(finding)) for finding in ("Edema", "Fracture"))
PATIENTS = 120


@pytest.fixture
def reports(database: Database) -> Database:
    """A report for each patient: every second has an edema, every third a fracture; an encoder that is instructed."""
    found = {p: EDEMA * (p % 2 == 0) + FRACTURE * (p % 3 == 0) for p in range(1, PATIENTS + 1)}
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), f"SNOMED/{p}") for p in found])
        connection.cursor().executemany(
            "insert into ehrdb.radiology_report (patient_id, time, findings) values (%s, '2020-01-10', %s)",
            list(found.items()),
        )
        asked = FakeEncoder().manifest.model_copy(update={"prompt_template": True})
        registry.register(connection, asked)
    return database


def asked_of(database: Database, *tasks: str, encoder: str = "fake") -> tuple[Question, list[str]]:
    model = FakeEncoder()
    return prepare(database, lambda _: model, tasks, [encoder], set()), model.seen


def test_each_finding_has_vectors_of_its_own_instruction(reports: Database) -> None:
    question, seen = asked_of(reports, "chexpert_edema", "chexpert_fracture")
    edema, fracture = question.targets["fake"]
    assert [edema.task, fracture.task] == ["chexpert_edema", "chexpert_fracture"]
    for finding in ("edema", "fracture"):
        said = f"answer the query: will the chest x-ray of this patient show {finding}\nQuery:"
        assert len([text for text in seen if said in text]) == PATIENTS
    assert len(seen) == 2 * PATIENTS
    assert (edema.test.labels == (edema.test.patient_id % 2 == 0)).all()
    assert (fracture.test.labels == (fracture.test.patient_id % 3 == 0)).all()
    assert not (edema.features[edema.test.row] == fracture.features[fracture.test.row]).all(axis=1).any()


def test_the_task_as_a_whole_is_embedded_once_for_all_findings(reports: Database) -> None:
    question, seen = asked_of(reports, "chexpert")
    assert len(seen) == PATIENTS
    assert [target.task for target in question.targets["fake"]] == [finding_task(finding) for finding in FINDINGS]


def test_a_finding_named_beside_the_whole_has_its_own_vectors(reports: Database) -> None:
    question, seen = asked_of(reports, "chexpert", "chexpert_edema")
    of_task = {target.task: target for target in question.targets["fake"]}
    rows = {name: target.test.row.tolist() for name, target in of_task.items()}
    assert (len(of_task), len(seen)) == (len(FINDINGS), 2 * PATIENTS)
    assert rows["chexpert_edema"] != rows["chexpert_fracture"] == rows["chexpert_pneumonia"]


def test_a_findings_head_is_served_under_its_instruction(reports: Database) -> None:
    (result,) = train(reports, registered(reports), lambda _: FakeEncoder(), "chexpert_edema")
    assert result.target == "chexpert_edema"
    with reports.transaction() as connection:
        head = "select h.task, p.prompt from ehrdb.head h join ehrdb.prompt p using (prompt_id)"
        ((task, prompt),) = connection.execute(head).fetchall()
        at_labels = (
            "select count(ehr.predict('chexpert_edema', l.patient_id, l.prediction_time)) from ehr.label l"
            " where l.task = 'chexpert'"
        )
        assert connection.execute(at_labels).fetchone() == (PATIENTS,)
    assert task == "chexpert"
    assert "show edema" in prompt


def registered(database: Database) -> registry.RegisteredEncoder:
    with database.transaction() as connection:
        return registry.find(connection, "fake")


def test_probabilities_of_a_finding_are_evaluated_with_it(reports: Database) -> None:
    boost(reports, "chexpert_edema", "trees")
    question, _ = asked_of(reports, "chexpert_edema", encoder="trees")
    assert [target.task for target in question.targets["trees"]] == ["chexpert_edema"]


@pytest.mark.parametrize(("target", "said"), [("chexpert_gout", "no task chexpert_gout"), ("chexpert", "several")])
def test_what_is_no_single_finding_is_refused_by_name(reports: Database, target: str, said: str) -> None:
    with pytest.raises(NotFound, match=said):
        boost(reports, target, "trees")
