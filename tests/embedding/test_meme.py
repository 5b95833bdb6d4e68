"""Concatenations of many parts: the paper's MEME, one text for each category of the record."""

from __future__ import annotations

import numpy as np
import pytest
from pgvector import HalfVector
from psycopg import errors

from ehrdb.database import Connection, Database, register_vectors
from ehrdb.embedding import refresh_all, registry
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.errors import EncoderError
from ehrdb.prediction.training import embed_labels
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write

CATEGORIES = registry.CATEGORIES


def make(encoder: RegisteredEncoder) -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def meme(database: Database) -> RegisteredEncoder:
    """Patient 1 has conditions, a stay and a lab value, 2 conditions alone, 3 nothing that any category holds."""
    with database.transaction() as connection:
        write(
            connection,
            [
                Record(1, day(1), "SNOMED/1"),
                Record(1, day(2), "Visit/IP"),
                Record(1, day(3), "LOINC/1", 5.0),
                Record(2, day(1), "SNOMED/1"),
                Record(3, day(1), "Nothing/1"),
            ],
        )
        connection.execute(
            "insert into ehrdb.concept_category (rules, code_id, category)"
            " select 'paper', code_id, case vocabulary when 'SNOMED' then 'conditions' when 'Visit' then 'visits'"
            "        when 'LOINC' then 'labs' end"
            "   from ehrdb.concept where vocabulary in ('SNOMED', 'Visit', 'LOINC')"
            "     on conflict (rules, code_id) do update set category = excluded.category"
        )
        connection.execute(
            "delete from ehrdb.concept_category g using ehrdb.concept c"
            " where c.code_id = g.code_id and c.code = 'Nothing/1'"
        )
        add_encoder(connection)
        made = registry.concatenate(connection, "meme", *registry.modalities("fake"))
    refresh_all(database, made, make)
    return made


def by_hand(connection: Connection, patient: int, moment: str = "infinity") -> list[float]:
    """Each category's text embedded by itself, zeros where it is empty, side by side."""
    texts = [
        row[0]
        for row in connection.execute(
            "select ehr.timeline(%s, %s, 'list_recent_only_' || c) from unnest(%s::text[]) with ordinality x (c, place)"
            " order by place",
            [patient, moment, list(CATEGORIES)],
        )
    ]
    assert len(set(texts)) > 1
    parts = [FakeEncoder().encode([text]).vectors[0] if text else np.zeros(8) for text in texts]
    return [float(value) for value in HalfVector(np.concatenate(parts)).to_numpy()]


def stored(connection: Connection, patient: int, moment: str = "infinity") -> list[float]:
    register_vectors(connection)
    row = connection.execute("select ehr.embedding(%s, %s::timestamp, 'meme')", [patient, moment]).fetchone()
    assert row is not None
    return [float(value) for value in row[0].to_numpy()]


def test_it_is_a_hand_made_concatenation_with_zeros_for_what_is_missing(
    database: Database, meme: RegisteredEncoder
) -> None:
    assert meme.dimension == 48
    with database.transaction() as connection:
        for patient in (1, 2):
            assert stored(connection, patient) == by_hand(connection, patient)


def test_who_has_nothing_of_any_part_has_no_vector(database: Database, meme: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        who = connection.execute(
            "select patient_id from ehrdb.patient_embedding where encoder_id = %s order by 1", [meme.encoder_id]
        ).fetchall()
    assert who == [(1,), (2,)]


def test_a_part_shows_no_vector_of_zeros_to_searches(database: Database, meme: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        who = connection.execute(
            "select s.patient_id from ehrdb.patient_embedding s join ehrdb.encoder e using (encoder_id)"
            " where e.name = 'fake:list_recent_only_labs'"
        ).fetchall()
    assert who == [(1,)]


def test_the_past_is_as_it_was_then(database: Database, meme: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        connection.execute("insert into ehrdb.task values ('t', 'g', 'binary', '', '{\"shape\": \"imported\"}')")
        connection.execute("insert into ehrdb.label values ('t', 1, %s, 1), ('t', 2, %s, 0)", [day(1, 12), day(1, 12)])
    embed_labels(database, meme, make, "t")
    with database.transaction() as connection:
        assert stored(connection, 1, "2020-01-01 12:00") == by_hand(connection, 1, "2020-01-01 12:00")
        assert stored(connection, 1, "2020-01-01 12:00") != stored(connection, 1)


def test_what_goes_is_zeros_again(database: Database, meme: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        connection.execute(
            "delete from ehrdb.event e using ehrdb.concept c where c.code_id = e.code_id and c.vocabulary = 'LOINC'"
        )
        connection.execute("insert into ehrdb.changed_patient (patient_id) values (1) on conflict do nothing")
    refresh_all(database, meme, make)
    with database.transaction() as connection:
        assert stored(connection, 1)[40:] == [0.0] * 8
        assert stored(connection, 1) == by_hand(connection, 1)


def test_a_label_s_moment_stays_when_a_part_becomes_empty(database: Database, meme: RegisteredEncoder) -> None:
    moment = "2020-01-03 12:00"
    with database.transaction() as connection:
        connection.execute("insert into ehrdb.task values ('t', 'g', 'binary', '', '{\"shape\": \"imported\"}')")
        connection.execute("insert into ehrdb.label values ('t', 1, %s, 1)", [moment])
    embed_labels(database, meme, make, "t")
    with database.transaction() as connection:
        connection.execute(
            "delete from ehrdb.event e using ehrdb.concept c where c.code_id = e.code_id and c.vocabulary = 'LOINC'"
        )
        connection.execute("insert into ehrdb.changed_patient (patient_id) values (1) on conflict do nothing")
        connection.execute("select ehrdb.plan_past(t.part_id, array[1]) from ehrdb.encoder_part t")
        kept = connection.execute(
            "select count(*) from ehrdb.encoder_part t join ehrdb.embedding_point p on p.encoder_id = t.part_id"
            " where p.patient_id = 1 and p.as_of = %s",
            [moment],
        ).fetchone()
    assert kept == (6,)
    refresh_all(database, meme, make)
    with database.transaction() as connection:
        assert stored(connection, 1, moment) == by_hand(connection, 1, moment)
        assert stored(connection, 1, moment)[40:] == [0.0] * 8


def test_a_model_is_registered_once_for_each_format(database: Database, meme: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        again = registry.concatenate(connection, "meme", *registry.modalities("fake"))
        assert again == meme
        assert len(registry.list_encoders(connection)) == 1 + 6 + 1
        assert {model.model for model in registry.models(connection, meme)} == {"fake"}


def test_instructed_parts_embed_their_instruction_where_there_is_no_text(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(1, day(1), "SNOMED/1")])
        asked = FakeEncoder(name="asked").manifest.model_copy(update={"prompt_template": True})
        registry.register(connection, asked)
        made = registry.concatenate(connection, "meme", "asked:list_recent_only_labs", "asked:list_recent_no_labs")
    seen = FakeEncoder(name="asked")
    refresh_all(database, made, lambda model: seen)
    with database.transaction() as connection:
        assert len(stored(connection, 1)) == 16
    assert any(text.endswith("Query:\n") for text in seen.seen)


def test_too_many_dimensions_are_refused_with_what_to_do(database: Database) -> None:
    with database.transaction() as connection:
        registry.register(connection, FakeEncoder(dimension=4_096, name="large").manifest)
        with pytest.raises(EncoderError, match="24576 dimensions together, more than 16000") as caught:
            registry.concatenate(connection, "meme", *registry.modalities("large"))
    assert "--dimension 2666" in str(caught.value.hint)


def test_weighted_similarity_is_that_of_weighted_vectors(database: Database, meme: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        write(connection, [Record(4, day(1), "SNOMED/2"), Record(4, day(3), "LOINC/1", 6.0)])
    refresh_all(database, meme, make)
    with database.transaction() as connection:
        weights = np.repeat([1, 1, 1, 1, 1, 3.0], 8)
        a, b = (np.array(stored(connection, patient)) * np.sqrt(weights) for patient in (1, 4))
        row = connection.execute(
            "select ehr.similarity(1, 4, weights => '{\"labs\": 3}', encoder => 'meme'), ehr.similarity(1, 4, 'meme'),"
            "       ehr.similarity(1, 4, weights => '{}', encoder => 'meme')"
        ).fetchone()
        parts = connection.execute(
            "select part, weight, similarity, contribution from"
            " ehr.similarity_by_part(1, 4, encoder => 'meme', weights => '{\"labs\": 3}')"
        ).fetchall()
    assert row is not None
    weighted, plain, unweighted = row
    assert weighted == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    assert unweighted == pytest.approx(plain, abs=1e-6)
    assert abs(weighted - plain) > 1e-3
    assert [part for part, *_ in parts] == list(CATEGORIES)
    assert sum(contribution for *_, contribution in parts if contribution) == pytest.approx(weighted, abs=1e-6)
    assert [similarity is None for _, _, similarity, _ in parts] == [True, True, False, True, True, False]


@pytest.mark.parametrize("weights", ['{"lab": 1}', '{"labs": -1}', '{"labs": "two"}'])
def test_a_weight_of_no_part_or_below_zero_is_refused(
    database: Database, meme: RegisteredEncoder, weights: str
) -> None:
    with database.transaction() as connection, pytest.raises(errors.DatabaseError) as caught:
        connection.execute("select ehr.similarity(1, 2, weights => %s, encoder => 'meme')", [weights])
    assert caught.value.sqlstate == "EH010"
