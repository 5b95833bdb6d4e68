"""Prediction: what SQL scores is what scikit-learn scored, from the record as of then."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest

from ehrdb.database import Database
from ehrdb.embedding import Snapshot, refresh, registry
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.embedding.vectors import import_vectors
from ehrdb.errors import NotFound, TrainingError
from ehrdb.prediction.training import embed_all, embed_labels, train
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write, write_patients

PATIENTS = 120


def make(encoder: RegisteredEncoder) -> FakeEncoder:
    return FakeEncoder()


def store(database: Database) -> tuple[int, ...]:
    """Heads, probabilities, and how many of them were written and removed."""
    with database.transaction() as connection:
        row = connection.execute("select * from ehrdb.store_predictions(null, null)").fetchone()
    assert row is not None
    return row


def import_odd_labels(database: Database, task: str) -> None:
    """Labels as if from a file: odd patients are positive."""
    with database.transaction() as connection:
        connection.execute(
            "insert into ehrdb.task values (%s, 'test', 'binary', '', '{\"shape\": \"imported\"}')", [task]
        )
        connection.execute(
            "insert into ehrdb.label select %s, p, %s, p %% 2 from generate_series(1, %s) p", [task, day(2), PATIENTS]
        )


@pytest.fixture
def encoder(database: Database) -> RegisteredEncoder:
    """Patients with one stay each, every third one long."""
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), f"SNOMED/{p % 7}") for p in range(1, PATIENTS + 1)])
        write(connection, [Record(p, day(2), "Visit/IP") for p in range(1, PATIENTS + 1)])
        connection.execute(
            "update ehrdb.event e set visit_class = 'inpatient',"
            "       end_time = time + case when patient_id %% 3 = 0 then interval '8 days' else interval '2 days' end"
            "  from ehrdb.concept c where c.code_id = e.code_id and c.code = 'Visit/IP'",
            [],
        )
        return add_encoder(connection)


def test_sql_gives_scikit_learns_probabilities(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "guo_los", calibrate=False)
    with database.transaction() as connection:
        rows = connection.execute(
            "select p.probability, h.weights::real[], h.intercept, ehr.embedding(p.patient_id)::real[]"
            "  from ehr.predict_cohort('guo_los') p, ehrdb.head h"
        ).fetchall()
    assert len(rows) == PATIENTS
    for probability, weights, intercept, vector in rows:
        logit = intercept + sum(w * x for w, x in zip(weights, vector, strict=True))
        assert probability == pytest.approx(1 / (1 + 2.718281828459045**-logit), abs=1e-6)


def test_a_calibrated_head_keeps_the_order_and_moves_the_mean_to_the_prevalence(
    database: Database, encoder: RegisteredEncoder
) -> None:
    found = []
    for calibrate in (False, True):
        train(database, encoder, make, "guo_los", calibrate=calibrate)
        with database.transaction() as connection:
            found.append(dict(connection.execute("select patient_id, probability from ehr.predict_cohort('guo_los')")))
    plain, calibrated = found
    assert sorted(plain, key=plain.__getitem__) in (
        sorted(calibrated, key=calibrated.__getitem__),
        sorted(calibrated, key=calibrated.__getitem__, reverse=True),
    )
    assert 0.2 < sum(calibrated.values()) / PATIENTS < 0.5


def test_heads_are_trained_on_two_encoders_side_by_side(
    database: Database, encoder: RegisteredEncoder, tmp_path: Path
) -> None:
    embed_labels(database, encoder, make, "guo_los")
    with database.transaction() as connection:
        moments = connection.execute("select patient_id, prediction_time from ehr.label").fetchall()
    rows = [(patient, time, [float(patient % 3 == 0), 1.0]) for patient, time in moments]
    columns = ["patient_id", "prediction_time", "embedding"]
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(tmp_path / "clmbr.parquet")
    import_vectors(database, tmp_path / "clmbr.parquet", "clmbr")
    with database.transaction() as connection:
        joint = registry.concatenate(connection, "joint", "fake", "clmbr")

    result = train(database, joint, make, "guo_los")[0]

    assert result.test["auroc"] == 1  # the imported vectors know the outcome
    with database.transaction() as connection:
        (rows_scored,) = connection.execute(
            "select count(*) from ehr.predict_cohort('guo_los', as_of => '2020-01-02 23:59', encoder => 'joint')"
        ).fetchone() or (0,)
    assert rows_scored == PATIENTS


def test_heads_need_an_imported_vector_at_every_prediction_time(
    database: Database, encoder: RegisteredEncoder, tmp_path: Path
) -> None:
    frame = {"patient_id": [1], "prediction_time": [day(2)], "embedding": [[1.0, 0.0]]}
    pl.DataFrame(frame).write_parquet(tmp_path / "clmbr.parquet")
    import_vectors(database, tmp_path / "clmbr.parquet", "clmbr")
    with database.transaction() as connection:
        imported = registry.find(connection, "clmbr")

    with pytest.raises(TrainingError, match="no embedding in clmbr"):
        train(database, imported, make, "guo_los")


def test_one_patient_and_the_cohort_agree(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "guo_los")
    with database.transaction() as connection:
        row = connection.execute(
            "select ehr.predict('guo_los', 5), (select probability from ehr.predict_cohort('guo_los', array[5]))"
        ).fetchone()
    assert row is not None
    assert row[0] == row[1]


def test_a_prediction_in_the_past_ignores_what_came_later(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "guo_los")
    moment = datetime(2020, 1, 2, 23, 59)
    with database.transaction() as connection:
        before = connection.execute("select ehr.predict('guo_los', 5, %s)", [moment]).fetchone()
        write(connection, [Record(5, moment + timedelta(days=9), "SNOMED/99")])
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        assert connection.execute("select ehr.predict('guo_los', 5, %s)", [moment]).fetchone() == before


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        (day(20), "not embedded as of then"),  # an event of day 10 lies between
        (datetime(1900, 1, 1), "no record by then"),
    ],
)
def test_a_past_moment_is_never_answered_from_an_older_text(
    database: Database, encoder: RegisteredEncoder, moment: datetime, reason: str
) -> None:
    train(database, encoder, make, "guo_los")
    with database.transaction() as connection:
        write(connection, [Record(5, day(10), "SNOMED/99"), Record(5, day(30), "SNOMED/98")])
    refresh(database, encoder, FakeEncoder)
    for question in ("ehr.predict('guo_los', 5, %s)", "ehr.embedding(5, %s)"):
        with database.transaction() as connection, pytest.raises(psycopg.Error) as caught:
            connection.execute(f"select {question}".encode(), [moment])
        assert (caught.value.diag.sqlstate, reason in str(caught.value)) == ("EH004", True)
    with database.transaction() as connection:
        rows = connection.execute(
            "select patient_id, probability, reason from ehr.predict_cohort('guo_los', array[5], %s)", [moment]
        ).fetchall()
    assert rows == [(5, None, reason)]


def test_the_hint_of_a_moment_that_is_not_embedded_embeds_it(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "guo_los")
    with database.transaction() as connection:
        write(connection, [Record(5, day(10), "SNOMED/99"), Record(5, day(30), "SNOMED/98")])
    refresh(database, encoder, FakeEncoder, snapshot=Snapshot(day(20), [5]))
    with database.transaction() as connection:
        found = connection.execute("select ehr.predict('guo_los', 5, %s)", [day(20)]).fetchone()
        write(connection, [Record(5, day(20) + timedelta(hours=1), "SNOMED/97")])
        assert connection.execute("select ehr.predict('guo_los', 5, %s)", [day(20)]).fetchone() == found


def test_a_record_that_arrives_late_takes_the_answer_of_its_moment_away_until_it_is_embedded(
    database: Database, encoder: RegisteredEncoder
) -> None:
    train(database, encoder, make, "guo_los")
    moment = datetime(2020, 1, 2, 23, 59)
    with database.transaction() as connection:
        write(connection, [Record(5, day(1, 7), "SNOMED/99")])
    with database.transaction() as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute("select ehr.predict('guo_los', 5, %s)", [moment])
    assert caught.value.diag.sqlstate == "EH004"


def test_a_late_record_is_embedded_again_at_a_labels_moment(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "guo_los")
    with database.transaction() as connection:
        write(connection, [Record(5, day(30), "SNOMED/98")])
    refresh(database, encoder, FakeEncoder)  # the label's moment is no longer the patient's last
    with database.transaction() as connection:
        write(connection, [Record(5, day(1, 7), "SNOMED/99")])
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        row = connection.execute(
            "select l.prediction_time, p.as_of, e.content_sha256"
            "       = ehrdb.content_sha256('', ehr.timeline(5, l.prediction_time))"
            "  from ehr.label l join ehrdb.embedding_point p on p.patient_id = 5 and p.as_of = l.prediction_time"
            "  join ehrdb.embedding e using (encoder_id, content_sha256)"
            " where l.patient_id = 5"
        ).fetchone()
    assert row == (datetime(2020, 1, 2, 23, 59), datetime(2020, 1, 2, 23, 59), True)


@pytest.mark.parametrize("as_of", ["infinity", "2020-01-20"])
def test_a_head_scores_the_vectors_of_its_own_prompt(
    database: Database, encoder: RegisteredEncoder, as_of: str
) -> None:
    train(database, encoder, make, "guo_los")
    question = (
        "select ehr.predict('guo_los', 5, %(as_of)s), p.probability"
        "  from ehr.predict_cohort(array['guo_los'], array[5], %(as_of)s) p"
    )
    with database.transaction() as connection:
        neutral = connection.execute(question, {"as_of": as_of}).fetchone()
        connection.execute(ANOTHER_PROMPT.encode())
        assert connection.execute(question, {"as_of": as_of}).fetchone() == neutral
        connection.execute(
            "update ehrdb.head set prompt_id = (select prompt_id from ehrdb.prompt where prompt = 'Stay?')"
        )
        other = connection.execute(question, {"as_of": as_of}).fetchone()
    assert neutral is not None
    assert other is not None
    assert neutral[0] == neutral[1] != other[0] == other[1]


# A later point under another prompt, with the opposite vector.
ANOTHER_PROMPT = """
insert into ehrdb.prompt (prompt) values ('Stay?');
insert into ehrdb.embedding (encoder_id, content_sha256, token_count, is_truncated, embedding)
select encoder_id, '\\x01', 1, false,
       (ehr.embedding(5) operator(public.*) array_fill(-1, array[8])::public.vector)::public.halfvec
  from ehrdb.encoder;
insert into ehrdb.embedding_point (encoder_id, prompt_id, patient_id, as_of, is_current, content_sha256)
select encoder_id, p.prompt_id, 5, '2020-01-10', true, '\\x01'
  from ehrdb.encoder, ehrdb.prompt p where p.prompt = 'Stay?';
"""


def test_the_model_card_says_where_the_head_comes_from(database: Database, encoder: RegisteredEncoder) -> None:
    result = train(database, encoder, make, "guo_los")[0]
    with database.transaction() as connection:
        row = connection.execute("select ehr.model_card('guo_los')").fetchone()
    assert row is not None
    card = row[0]
    assert card["encoder_digest"] == encoder.digest
    assert sum(card["labels"].values()) == PATIENTS
    assert card["test"] == result.test
    assert card["split"] == "by patient id: 70 train, 15 val, 15 test"
    assert len(card["labels_sha256"]) == 64


def test_many_tasks_at_once_and_one_by_one_agree(database: Database, encoder: RegisteredEncoder) -> None:
    for task in ("guo_los", "guo_readmission"):
        import_odd_labels(database, task)
        train(database, encoder, make, task)
    with database.transaction() as connection:
        for moment in ("infinity", "2020-01-03"):
            at_once = connection.execute(
                "select * from ehr.predict_cohort(array['guo_los', 'guo_readmission'], array[1, 2, 3], %s)"
                " order by 1, 2",
                [moment],
            ).fetchall()
            one_by_one = connection.execute(
                "select t, p.* from unnest(array['guo_los', 'guo_readmission']) t, ehr.predict_cohort(t, null, %s) p"
                " where patient_id < 4 order by 1, 2",
                [moment],
            ).fetchall()
            assert at_once == one_by_one
            assert len(at_once) == 6


def test_a_cohorts_staleness_is_what_a_search_says(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "guo_los")
    with database.transaction() as connection:
        write(connection, [Record(7, day(20), "SNOMED/99")])
        stale = connection.execute(
            "select p.patient_id, p.is_stale, n.is_stale from ehr.predict_cohort('guo_los') p"
            "  join ehr.nearest_patients(1, 1000) n using (patient_id) order by 1"
        ).fetchall()
    assert len(stale) == PATIENTS - 1
    assert [patient for patient, of_cohort, _ in stale if of_cohort] == [7]
    assert all(of_cohort == of_search for _, of_cohort, of_search in stale)


def test_kept_predictions_are_written_only_where_they_differ(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "guo_los")
    assert store(database) == (1, PATIENTS, PATIENTS, 0)
    assert store(database) == (1, PATIENTS, 0, 0)
    with database.transaction() as connection:
        write(connection, [Record(7, day(20), "SNOMED/99")])
        connection.execute("select ehrdb.purge_patients(array[8])")
    refresh(database, encoder, FakeEncoder)
    assert store(database) == (1, PATIENTS - 1, 1, 0)
    with database.transaction() as connection:
        kept = connection.execute("select patient_id, probability from ehr.prediction order by 1").fetchall()
        now = connection.execute(
            "select patient_id, probability from ehr.predict_cohort('guo_los') order by 1"
        ).fetchall()
    assert kept == now


def test_a_kept_prediction_follows_the_moment_that_its_vector_knows(
    database: Database, encoder: RegisteredEncoder
) -> None:
    train(database, encoder, make, "guo_los")
    store(database)
    with database.transaction() as connection:
        connection.execute("update ehrdb.patient_embedding set as_of = %s where patient_id = 7", [day(3)])
    assert store(database) == (1, PATIENTS, 1, 0)
    with database.transaction() as connection:
        assert connection.execute("select known_until from ehr.prediction where patient_id = 7").fetchone() == (day(3),)


def test_a_head_trained_anew_takes_the_old_ones_probabilities_along(
    database: Database, encoder: RegisteredEncoder
) -> None:
    train(database, encoder, make, "guo_los")
    store(database)
    train(database, encoder, make, "guo_los", calibrate=False)
    with database.transaction() as connection:
        assert connection.execute("select count(*) from ehr.prediction").fetchone() == (0,)


def test_heads_are_trained_on_the_record_as_of_the_label_alone(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "guo_los")
    with database.transaction() as connection:
        before = connection.execute("select weights::text from ehrdb.head").fetchone()
        write(connection, [Record(p, day(25), f"SNOMED/{p % 11}00") for p in range(1, PATIENTS + 1)])
    train(database, encoder, make, "guo_los")
    with database.transaction() as connection:
        assert connection.execute("select weights::text from ehrdb.head").fetchone() == before


def test_patients_are_split_as_their_source_says(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        connection.execute(
            "update ehrdb.patient set split = case when patient_id <= 60 then 'train' when patient_id <= 90 then 'val'"
            " else 'test' end"
        )
    assert train(database, encoder, make, "guo_los")[0].labels == {"train": 60, "val": 30, "test": 30}


def test_kept_predictions_go_with_their_vectors(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "guo_los")
    store(database)
    with database.transaction() as connection:
        connection.execute("delete from ehrdb.patient_embedding where patient_id < 11")
    assert store(database) == (1, PATIENTS - 10, 0, 10)


@pytest.mark.parametrize(
    ("question", "sqlstate"),
    [("select ehr.predict('guo_los', 1)", "EH005"), ("select ehr.predict('poem', 1)", "EH005")],
)
def test_a_task_without_head_says_so(
    database: Database, encoder: RegisteredEncoder, question: str, sqlstate: str
) -> None:
    with database.transaction() as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(question.encode())
    assert caught.value.diag.sqlstate == sqlstate


def test_a_head_is_not_used_with_another_encoder(database: Database, encoder: RegisteredEncoder) -> None:
    train(database, encoder, make, "guo_los")
    with database.transaction() as connection:
        add_encoder(connection, "second")
    with database.transaction() as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute("select ehr.predict('guo_los', 1, encoder => 'second')")
    assert caught.value.diag.sqlstate == "EH006"
    assert caught.value.diag.message_hint == "Run `ehrdb train guo_los`."


def test_an_unknown_task_is_named_with_those_there_are(database: Database, encoder: RegisteredEncoder) -> None:
    with pytest.raises(NotFound, match="poem"):
        train(database, encoder, make, "poem")


def test_labels_of_one_class_cannot_be_trained_on(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        connection.execute("update ehrdb.event set end_time = time + interval '2 days' where visit_class is not null")
    with pytest.raises(TrainingError, match="one class"):
        train(database, encoder, make, "guo_los")


def test_training_waits_for_what_a_running_worker_holds(database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 6)
        encoder = add_encoder(connection)
        connection.execute("select ehrdb.plan_refresh()")
        connection.execute(
            "update ehrdb.embedding_job set worker = 'another', leased_until = clock_timestamp() + interval '2 seconds'"
            " where patient_id <= 3"
        )
    assert embed_all(database, encoder, FakeEncoder, lambda done, total: None) == 0
    with database.transaction() as connection:
        assert connection.execute("select count(*) from ehrdb.patient_embedding").fetchone() == (6,)


def test_what_another_holds_is_waited_for_where_it_is_needed(database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 6)
        encoder = add_encoder(connection)
        connection.execute("select ehrdb.plan_refresh()")
        lease = (
            "update ehrdb.embedding_job set worker = 'another', leased_until = clock_timestamp() + %s::interval"
            " where patient_id = %s returning content_sha256"
        )
        ((needed,),) = connection.execute(lease, ["2 seconds", 1]).fetchall()
        connection.execute(lease, ["1 day", 2])

    def missing() -> list[bytes]:
        with database.transaction() as connection:
            found = connection.execute("select content_sha256 from ehrdb.embedding_job").fetchall()
        return [content for (content,) in found if content == needed]

    assert embed_all(database, encoder, FakeEncoder, lambda done, total: None, only=missing) == 0
    with database.transaction() as connection:
        assert connection.execute("select patient_id from ehrdb.patient_embedding").fetchall() == [(1,)]
