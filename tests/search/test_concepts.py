"""Concepts by their words."""

from __future__ import annotations

import psycopg
import pytest

from ehrdb.database import Connection
from tests.records import Record, day, write


@pytest.fixture
def described(connection: Connection) -> Connection:
    """Three patients, four concepts."""
    codes = ["S/1", "S/1", "S/2", "S/3", "S/4"]
    write(connection, [Record(p, day(p), code) for p, code in enumerate(codes, start=1)])
    write(connection, [Record(1, day(9), "S/1")])
    texts = {
        "S/1": "Heart failure",
        "S/2": "Congestive heart failure with fluid",
        "S/3": "Renal failure",
        "S/4": "it's a systolic/diastolic \\ figure",
    }
    for code, text in texts.items():
        connection.execute("update ehrdb.concept set description = %s where code = %s", [text, code])
    return connection


def found(connection: Connection, words: str, count: int = 20) -> list[tuple[str, int]]:
    rows = connection.execute("select code, patients from ehr.search_concepts(%s, %s)", [words, count]).fetchall()
    return [(code, patients) for code, patients in rows]


def test_every_word_begins_one_of_the_text_and_short_texts_come_first(described: Connection) -> None:
    assert found(described, "FAIL heart") == [("S/1", 2), ("S/2", 1)]
    assert found(described, "heart", 1) == [("S/1", 2)]


def test_a_code_itself_comes_first(described: Connection) -> None:
    assert found(described, " S/3 ")[0] == ("S/3", 1)


def test_a_patient_counts_once_however_often_it_has_the_concept(described: Connection) -> None:
    assert found(described, "S/1")[0] == ("S/1", 2)


def test_a_slash_parts_words(described: Connection) -> None:
    assert found(described, "diastolic") == [("S/4", 1)]


@pytest.mark.parametrize("words", ["%", "!", "heart & !failure | x", "it's \\", "' | heart", "heart:*"])
def test_nothing_that_is_typed_is_an_operator(described: Connection, words: str) -> None:
    assert set(found(described, words)) <= {("S/1", 2), ("S/2", 1), ("S/4", 1)}
    assert not found(described, "heart | renal")


def test_a_sites_own_text_is_found(described: Connection) -> None:
    described.execute("insert into ehrdb.custom_text values ('S', '3', 'Nierenversagen')")
    assert found(described, "nieren") == [("S/3", 1)]


def test_a_description_of_any_length_can_be_stored(described: Connection) -> None:
    described.execute(
        "update ehrdb.concept set description ="
        " (select string_agg('heart' || i, ' ') from generate_series(1, 300000) i) where code = 'S/2'"
    )
    assert ("S/2", 1) in found(described, "heart1")


@pytest.mark.parametrize("words", ["", "  ", "x" * 1001])
def test_no_words_are_an_error(described: Connection, words: str) -> None:
    with pytest.raises(psycopg.Error) as error:
        found(described, words)
    assert error.value.sqlstate == "EH010"


def test_words_are_looked_up_in_the_index(described: Connection) -> None:
    described.execute("set local enable_seqscan = off")
    rows = described.execute(
        "explain select from ehrdb.concept c where to_tsvector('pg_catalog.simple',"
        " translate(left(c.description, 10000), '/_', '  ')) @@ (select ehrdb.word_query('heart'))"
    ).fetchall()
    assert "concept_by_word" in str(rows)
