"""Texts and categories of concepts are kept; what comes one by one is as if all had come at once."""

from __future__ import annotations

import pytest

from ehrdb.database import Connection

ROOT = "SNOMED/71388002"  # procedures are what descends from it
CODES = [
    ("RxNorm/1", "RxNorm"),
    ("SNOMED/1", "SNOMED"),
    (ROOT, "SNOMED"),
    ("DRUG//local", "DRUG"),
    ("SNOMED/2", "SNOMED"),
    ("SITE/odd", "SITE"),
]


def kept(connection: Connection) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    categories = connection.execute(
        "select rules, code, category from ehrdb.concept_category join ehrdb.concept using (code_id) order by 1, 2"
    ).fetchall()
    texts = connection.execute(
        "select code, text from ehrdb.concept_text join ehrdb.concept using (code_id) order by 1"
    )
    return categories, texts.fetchall()


def add(connection: Connection, *codes: tuple[str, str]) -> None:
    for code, vocabulary in codes:
        connection.execute(
            "insert into ehrdb.concept (code, vocabulary, description) values (%s, %s, %s)",
            [code, vocabulary, f"a {code}"],
        )


def descend(connection: Connection, child: str, parent: str) -> None:
    connection.execute(
        "insert into ehrdb.concept_parent (child_id, parent_id) select a.code_id, b.code_id from ehrdb.concept a,"
        " ehrdb.concept b where (a.code, b.code) = (%s, %s)",
        [child, parent],
    )


def test_a_new_code_has_its_category_at_once(connection: Connection) -> None:
    """By its prefix, before any relation of codes has them all looked at."""
    add(connection, ("LOINC/5", "LOINC"))
    assert ("paper", "LOINC/5", "labs") in kept(connection)[0]


def test_codes_that_come_one_by_one_are_kept_as_all_at_once(connection: Connection) -> None:
    for code in CODES:
        add(connection, code)
        descend(connection, code[0], "SNOMED/1") if code[0] == "SNOMED/2" else None
    descend(connection, "SNOMED/1", ROOT)
    descend(connection, "DRUG//local", "RxNorm/1")
    found = kept(connection)
    assert ("paper", "SNOMED/2", "procedures") in found[0]
    connection.execute("select ehrdb.refresh_categories(), ehrdb.refresh_texts()")
    assert kept(connection) == found
    assert {category for rules, code, category in found[0] if (rules, code) == ("paper", "DRUG//local")} == {
        "medications"
    }
    assert len(found[0]) == 3 * len(CODES)


@pytest.mark.parametrize(
    "change",
    [
        "update ehrdb.concept set code = 'SNOMED/renamed' where code = %s",
        "update ehrdb.concept set vocabulary = 'SITE' where code = %s",
        "update ehrdb.concept set description = 'another' where code = %s",
    ],
)
def test_a_code_that_changes_is_kept_with_those_that_it_says_something_of(connection: Connection, change: str) -> None:
    add(connection, *CODES)
    descend(connection, "SNOMED/1", ROOT)
    connection.execute(change.encode(), [ROOT])
    found = kept(connection)
    connection.execute("select ehrdb.refresh_categories(), ehrdb.refresh_texts()")
    assert kept(connection) == found
