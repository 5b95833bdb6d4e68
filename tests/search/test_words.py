"""Patients by words and by meaning, asked inside transactions: nothing is committed for the question."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import ehrdb
from ehrdb.database import Database
from ehrdb.embedding import refresh
from ehrdb.encoder import Encoder
from ehrdb.search.answer import WORKER, answer_searches
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write, write_patients
from tests.servers.test_rights import login

CONCEPTS = {"Heart failure": [2, 3], "Heart rate": [1, 4], "Respiratory failure": [1], "Kidney diseases": [2]}


@pytest.fixture
def filled(database: Database) -> Database:
    with database.transaction() as connection:
        write_patients(connection, 6)
        for number, (description, patients) in enumerate(CONCEPTS.items()):
            write(connection, [Record(p, day(20), f"SITE/{number}") for p in patients])
            connection.execute(
                "update ehrdb.concept set description = %s where code = %s", [description, f"SITE/{number}"]
            )
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    return database


@contextmanager
def answered(database: Database, model: Encoder | None = None) -> Iterator[None]:
    """Somebody answers questions meanwhile."""
    stop = threading.Event()
    arguments = (database, lambda encoder: model or FakeEncoder(), stop)
    thread = threading.Thread(target=answer_searches, args=arguments)
    thread.start()
    question = "select from pg_stat_activity where datname = current_database() and application_name = %s"
    while True:
        with database.transaction() as connection:
            if connection.execute(question, [WORKER]).rowcount:
                break
        time.sleep(0.02)
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def text_of(database: Database, patient_id: int) -> str:
    with database.transaction() as connection:
        row = connection.execute("select ehr.timeline(%s)", [patient_id]).fetchone()
    assert row is not None
    return str(row[0])


def open_questions(database: Database) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return connection.execute("select query from ehrdb.search_request").fetchall()


NEAREST = "select patient_id from ehr.nearest_to_text(%s, 3)"


def test_a_text_is_read_inside_an_open_transaction_as_often_as_asked(filled: Database) -> None:
    with answered(filled), psycopg.connect(filled.url) as connection:
        for patient_id in (3, 5, 3):
            found = connection.execute(NEAREST, [text_of(filled, patient_id)]).fetchall()
            assert found[0] == (patient_id,)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        connection.rollback()
        row = connection.execute("select count(*) from ehr.audit where what like 'ehr.nearest_to_text by %'").fetchone()
        assert row == (3,)  # a rollback takes no note back


def test_it_joins_and_takes_a_cohort(filled: Database) -> None:
    with answered(filled), psycopg.connect(filled.url) as connection:
        joined = connection.execute(
            "select q.query, n.patient_id from (values ('heart'), ('kidney')) q (query)"
            " cross join lateral ehr.nearest_to_text(q.query, 2, array[1, 2]) n join ehr.patient p using (patient_id)"
        ).fetchall()
    assert {p for _, p in joined} == {1, 2}
    assert len(joined) == 4


@pytest.mark.parametrize("text", ["ä", "心不全 " * 400, "x" * 8000, "a" * 32, "a" * 31, "a" * 33])
def test_texts_of_any_length_and_alphabet_arrive_whole(filled: Database, text: str) -> None:
    class Listening(FakeEncoder):
        heard: str = ""

        def encode(self, texts, **how):  # type: ignore[no-untyped-def]
            self.heard = texts[0]
            return super().encode(texts, **how)

    model = Listening()
    with answered(filled, model), psycopg.connect(filled.url) as connection:
        connection.execute(NEAREST, [text])
    assert model.heard.endswith(text)


def test_what_was_said_is_wiped_and_the_text_kept_no_longer_than_it_is_read(filled: Database) -> None:
    with answered(filled), psycopg.connect(filled.url) as connection:
        connection.execute(NEAREST, ["heart failure " * 30])
        said = connection.execute(
            "select s1.last_value + s5.last_value from ehrdb.speech_1 s1, ehrdb.speech_5 s5"
        ).fetchone()
        assert said == (0,)
        assert open_questions(filled) == [("",)]  # until this transaction ends
        connection.commit()
        assert open_questions(filled) == []


def test_who_goes_away_while_speaking_stops_nobody(filled: Database) -> None:
    with psycopg.connect(filled.url, application_name=WORKER), psycopg.connect(filled.url) as silent:
        with pytest.raises(psycopg.Error, match="no worker answered in time") as caught:
            silent.execute("select * from ehr.nearest_to_text('heart', patience => '50 ms')")
        assert caught.value.sqlstate == "EH008"
    with answered(filled), psycopg.connect(filled.url) as connection:
        assert len(connection.execute(NEAREST, ["heart"]).fetchall()) == 3
    assert open_questions(filled) == []


def test_several_ask_at_once_and_each_gets_their_own_answer(filled: Database) -> None:
    found: dict[int, int] = {}

    def ask(patient_id: int) -> None:
        with psycopg.connect(filled.url) as connection:
            row = connection.execute(NEAREST, [text_of(filled, patient_id)]).fetchone()
            assert row is not None
            found[patient_id] = row[0]

    with answered(filled), answered(filled):
        threads = [threading.Thread(target=ask, args=[p]) for p in range(1, 7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {p: p for p in range(1, 7)}


@pytest.mark.parametrize("how", ["isolation level repeatable read", "isolation level serializable", "read only"])
def test_a_transaction_that_can_be_told_nothing_new_says_so(filled: Database, how: str) -> None:
    with answered(filled), psycopg.connect(filled.url, autocommit=True) as connection:
        connection.execute(f"begin {how}".encode())
        with pytest.raises(psycopg.Error, match="can be told nothing new") as caught:
            connection.execute(NEAREST, ["heart"])
    assert caught.value.sqlstate == "EH010"
    assert "read committed" in str(caught.value.diag.message_hint)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_where_transactions_look_at_one_moment_by_default_search_text_answers_and_ehrdb_asks_as_ever(
    filled: Database, level: str
) -> None:
    options = "-c default_transaction_isolation=" + level.replace(" ", "\\ ")
    url = make_conninfo(filled.url, options=options)
    with answered(filled), psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("call ehr.search_text('heart', 3, patience => '5 s')").fetchone()
        assert row is not None
        assert len(row[0]) == 3
        with ehrdb.connect(url, frames="rows") as db:
            assert len(db.search("heart", 3)) == 3
            assert len(db.nearest("heart", 3, by_worker=True)) == 3


def test_a_reader_neither_hears_others_nor_speaks_for_the_worker(
    filled: Database, server_url: str, analyst: Database
) -> None:
    with (
        login(server_url, filled, "in role ehr_worker") as worker,
        answered(worker),
        psycopg.connect(analyst.url) as connection,
    ):
        assert len(connection.execute(NEAREST, ["heart"]).fetchall()) == 3
        connection.commit()
        for forbidden in (
            "select last_value from ehrdb.speech_1",
            "select setval('ehrdb.speech_turn', 1)",
            "select ehrdb.heard()",
            "select ehrdb.hear_question()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden.encode())
            connection.rollback()


def words(database: Database, query: str, k: int = 10, cohort: list[int] | None = None) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return connection.execute(
            "select rank, patient_id, found from ehr.patients_by_words(%s, %s, %s)", [query, k, cohort]
        ).fetchall()


def test_words_of_one_concept_count_more_than_words_of_two(filled: Database) -> None:
    assert [p for _, p, _ in words(filled, "heart failure")][:3] == [2, 3, 1]


def test_endings_and_words_that_say_nothing_do_not_count(filled: Database) -> None:
    assert words(filled, "the disease of a kidney, and the kidneys") == [(1, 2, ["disease", "kidney"])]
    assert words(filled, "of the and") == []


def test_a_word_that_everybody_has_several_times_is_not_looked_for(filled: Database) -> None:
    assert len(words(filled, "text")) == 6
    with filled.transaction() as connection:
        write(connection, [Record(p, day(21), f"SITE/text{n}") for p in range(1, 7) for n in range(5)])
        connection.execute("select ehrdb.count_concepts()")
    assert words(filled, "text") == []
    assert len(words(filled, "text failure")) == 3


def test_who_has_the_same_words_shares_a_rank_and_a_cohort_limits(filled: Database) -> None:
    assert [(rank, p) for rank, p, _ in words(filled, "heart")] == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert [p for _, p, _ in words(filled, "heart", 10, [4, 5])] == [4]


def test_both_ways_are_joined_by_reciprocal_rank_with_both_ranks_shown(filled: Database) -> None:
    with answered(filled), psycopg.connect(filled.url) as connection:
        rows = connection.execute(
            "select rank, patient_id, rank_by_words, rank_by_meaning, similarity is null"
            "  from ehr.search_patients('kidney diseases', 6)"
        ).fetchall()
    score = [sum(1 / (60 + way) for way in row[2:4] if way is not None) for row in rows]
    assert score == sorted(score, reverse=True)
    assert [row[0] for row in rows] == list(range(1, 7))
    assert rows[0][1:3] == (2, 1)
    assert all((row[3] is None) == row[4] for row in rows)
