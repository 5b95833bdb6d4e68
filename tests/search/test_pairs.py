"""Questions about patients, each as of a moment of their own: what the question about one says, or a reason."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
import pytest
from psycopg.abc import Buffer
from psycopg.types.datetime import TimestampLoader

from ehrdb.database import Connection, Database
from ehrdb.embedding import IndexDates, refresh
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, add_head, day, write

FOREVER = "infinity"
# Pairs that have a vector, and others with the reason why they have none.
EMBEDDED = [(p, day(d)) for p in range(1, 7) for d in (5, 12)]
WITHOUT = {
    (404, str(day(5))): "unknown patient",
    (1, "2019-01-01"): "no record by then",
    (1, str(day(20))): "not embedded as of then",
}
PAIRS = [(p, str(moment)) for p, moment in EMBEDDED] + [(2, FOREVER), (2, str(day(7))), *WITHOUT]


@pytest.fixture
def asked(database: Database) -> Database:
    """Six patients with events on days 1, 10, 18 and 25, embedded now and as of days 5 and 12, and a head."""
    with database.transaction() as connection:
        write(connection, [Record(p, day(d), f"SNOMED/{p * 100 + d}", float(p)) for p in range(1, 7) for d in (1, 10)])
        write(connection, [Record(p, day(1), f"SNOMED/common{p % 2}") for p in range(1, 7)])
        write(connection, [Record(p, day(d), "SNOMED/late") for p in range(1, 7) for d in (18, 25)])
        connection.execute(
            "insert into ehrdb.task values ('death', 'own', 'binary', 'a task', '{\"shape\": \"imported\"}')"
        )
        encoder = add_encoder(connection)
        add_head(connection, "death", encoder)
        connection.execute(
            "insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance)"
            " select task, 'death_day_' || d, encoder_id, prompt_id, weights, -d / 100.0, provenance"
            "   from ehrdb.head, unnest(array[30, 90]) d"
        )
    dates = IndexDates([p for p, _ in EMBEDDED], [moment for _, moment in EMBEDDED])
    refresh(database, encoder, FakeEncoder, index_dates=dates)
    return database


class Loader(TimestampLoader):
    """Python knows no infinity."""

    def load(self, data: Buffer) -> datetime:
        return datetime.max if bytes(data) == b"infinity" else super().load(data)


def rows(database: Database, question: str, **values: Any) -> list[dict[str, Any]]:
    with database.transaction() as connection:
        cursor = connection.cursor()
        cursor.adapters.register_loader("timestamp", Loader)
        cursor.execute(question.encode(), values)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def lists(pairs: list[tuple[int, Any]], which: str = "") -> dict[str, Any]:
    return {f"ids{which}": [p for p, _ in pairs], f"moments{which}": [str(moment) for _, moment in pairs]}


def one(database: Database, question: str, **values: Any) -> Any:
    """What a question about one pair says: the value, or the sqlstate."""
    try:
        with database.transaction() as connection:
            row = connection.execute(question.encode(), values).fetchone()
            assert row is not None
            return row[0]
    except psycopg.Error as error:
        return error.sqlstate


@pytest.mark.parametrize(
    ("pairs", "single", "column"),
    [
        (
            "select * from ehr.predict_at('death', %(ids)s, %(moments)s::timestamp[])",
            "select ehr.predict('death', %(id)s, %(moment)s)",
            "probability",
        ),
        (
            'select "position", patient_id, embedding::text, reason'
            "  from ehr.embeddings_at(%(ids)s, %(moments)s::timestamp[])",
            "select ehr.embedding(%(id)s, %(moment)s)::text",
            "embedding",
        ),
    ],
    ids=["predict_at", "embeddings_at"],
)
def test_each_pair_has_the_answer_of_the_question_about_one_or_its_reason(
    asked: Database, pairs: str, single: str, column: str
) -> None:
    found = rows(asked, pairs, **lists(PAIRS))
    assert [row["position"] for row in found] == list(range(1, len(PAIRS) + 1))
    for row, (patient, moment) in zip(found, PAIRS, strict=True):
        alone = one(asked, single, id=patient, moment=moment)
        assert row["patient_id"] == patient
        assert row["reason"] == WITHOUT.get((patient, moment))
        assert row[column] == (None if row["reason"] else alone)
        assert (alone in ("EH001", "EH004")) == bool(row["reason"])


def test_many_tasks_are_answered_in_their_order_for_each_pair(asked: Database) -> None:
    question = "select * from ehr.predict_at(array['death_day_30', 'death'], %(ids)s, %(moments)s::timestamp[])"
    found = rows(asked, question, **lists(PAIRS[:2]))
    assert [(row["position"], row["task"]) for row in found] == [
        (1, "death_day_30"),
        (1, "death"),
        (2, "death_day_30"),
        (2, "death"),
    ]


def test_now_is_answered_from_the_newest_vector_which_says_how_old_it_is(asked: Database) -> None:
    with asked.transaction() as connection:
        write(connection, [Record(2, day(28), "SNOMED/new")])
    (row,) = rows(asked, "select * from ehr.predict_at('death', array[2], array['infinity'::timestamp])")
    assert (row["known_until"], row["is_stale"], row["reason"]) == (day(25), True, None)
    assert row["probability"] is not None


def test_survival_at_a_moment_is_survival_as_of_it(asked: Database) -> None:
    found = rows(asked, "select * from ehr.survival_at('death', %(ids)s, %(moments)s::timestamp[])", **lists(PAIRS))
    for patient, moment in [(p, str(m)) for p, m in EMBEDDED]:
        alone = rows(
            asked, "select days, survival from ehr.survival('death', array[%(p)s], %(m)s)", p=patient, m=moment
        )
        assert [
            {"days": row["days"], "survival": row["survival"]}
            for row in found
            if (row["patient_id"], str(row["as_of"])) == (patient, moment)
        ] == alone
    assert {row["reason"] for row in found if row["survival"] is None} == set(WITHOUT.values())


def test_similarity_of_two_records_is_that_of_their_vectors(asked: Database) -> None:
    others = [*PAIRS[1:], PAIRS[0]]
    question = (
        "select * from ehr.similarity_at(%(ids)s, %(moments)s::timestamp[], %(ids_b)s, %(moments_b)s::timestamp[])"
    )
    found = rows(asked, question, **lists(PAIRS), **lists(others, "_b"))
    assert len(found) == len(PAIRS)
    for row, a, b in zip(found, PAIRS, others, strict=True):
        reasons = [f"{name}: {WITHOUT[pair]}" for name, pair in (("a", a), ("b", b)) if pair in WITHOUT]
        assert row["reason"] == ("; ".join(reasons) or None)
        alone = "select 1 - (ehr.embedding(%(p)s, %(m)s) operator(public.<=>) ehr.embedding(%(q)s, %(n)s))"
        if not reasons:
            assert row["similarity"] == pytest.approx(one(asked, alone, p=a[0], m=a[1], q=b[0], n=b[1]), abs=1e-6)


def nearest(database: Database, pairs: list[tuple[int, Any]], candidates: list[tuple[int, Any]] | None) -> Any:
    question = (
        "select * from ehr.nearest_at(%(ids)s, %(moments)s::timestamp[], 3, %(ids_b)s::bigint[],"
        " %(moments_b)s::timestamp[])"
    )
    other = lists(candidates, "_b") if candidates is not None else {"ids_b": None, "moments_b": None}
    return rows(database, question, **lists(pairs), **other)


def test_the_nearest_as_of_one_moment_are_those_of_nearest_patients(asked: Database) -> None:
    everybody = [(p, day(12)) for p in range(1, 7)]
    found = nearest(asked, [(1, day(12))], everybody)
    alone = rows(asked, "select * from ehr.nearest_patients(1, 3, as_of => %(m)s)", m=day(12))
    assert [(r["rank"], r["neighbour_id"], r["neighbour_as_of"]) for r in found] == [
        (r["rank"], r["patient_id"], day(12)) for r in alone
    ]
    assert [r["similarity"] for r in found] == pytest.approx([r["similarity"] for r in alone])


def test_without_candidates_pairs_are_compared_among_themselves_and_never_with_the_same_patient(
    asked: Database,
) -> None:
    found = nearest(asked, EMBEDDED, None)
    assert len(found) == 3 * len(EMBEDDED)
    assert all(row["neighbour_id"] != row["patient_id"] for row in found)
    assert {(row["neighbour_id"], row["neighbour_as_of"]) for row in found} <= set(EMBEDDED)


def test_a_pair_without_a_vector_has_a_row_with_the_reason_beside_the_others(asked: Database) -> None:
    found = nearest(asked, [(1, day(5)), (404, day(5)), (1, "2019-01-01")], EMBEDDED)
    assert [(row["position"], row["reason"]) for row in found] == [
        *[(1, None)] * 3,
        (2, "unknown patient"),
        (3, "no record by then"),
    ]


def test_nothing_is_nearest_while_a_candidate_is_not_embedded(asked: Database) -> None:
    found = nearest(asked, [(1, day(5))], [*EMBEDDED, (3, day(20)), (404, day(1)), (2, "2019-01-01")])
    assert [(r["rank"], r["reason"]) for r in found] == [(None, "1 candidates are not embedded as of their moments")]


def test_nobody_to_compare_with_is_said(asked: Database) -> None:
    assert [row["reason"] for row in nearest(asked, [(1, day(5))], [(1, day(12))])] == ["nobody to compare with"]


EXPLAINED = (
    "select relation, code, description, weight, value_a, value_b"
    "  from ehr.explain_similarity_at(%(ids)s, %(moments)s::timestamp[], %(ids_b)s, %(moments_b)s::timestamp[])"
)


@pytest.mark.parametrize("moment", [day(5), day(12), FOREVER])
def test_explained_as_of_one_moment_it_is_explain_similarity(asked: Database, moment: Any) -> None:
    alone = rows(asked, "select * from ehr.explain_similarity(1, 3, %(m)s)", m=moment)
    assert rows(asked, EXPLAINED, **lists([(1, moment)]), **lists([(3, moment)], "_b")) == alone
    assert alone


def test_a_record_explained_beside_its_own_past_says_what_came(asked: Database) -> None:
    found = rows(asked, EXPLAINED, **lists([(1, day(5))]), **lists([(1, day(12))], "_b"))
    assert {row["code"] for row in found if row["relation"] == "only_b"} == {"SNOMED/110"}
    assert not [row for row in found if row["relation"] == "only_a"]


def test_what_has_no_record_is_not_explained_and_says_so(asked: Database) -> None:
    found = rows(
        asked,
        'select "position", relation, reason from ehr.explain_similarity_at(%(ids)s, %(moments)s::timestamp[],'
        " %(ids_b)s, %(moments_b)s::timestamp[])",
        **lists([(404, day(5)), (1, "2019-01-01")]),
        **lists([(1, day(5)), (404, day(5))], "_b"),
    )
    assert [(row["position"], row["relation"], row["reason"]) for row in found] == [
        (1, None, "a: unknown patient"),
        (2, None, "a: no record by then; b: unknown patient"),
    ]


MATCHED = (
    "select * from ehr.match_cohort_at(%(ids)s, %(moments)s::timestamp[], %(ids_b)s, %(moments_b)s::timestamp[],"
    " ratio => %(ratio)s)"
)


@pytest.mark.parametrize("ratio", [1, 2])
def test_matched_as_of_one_moment_it_is_match_cohort(asked: Database, ratio: int) -> None:
    cases, candidates = [(p, day(12)) for p in (1, 2)], [(p, day(12)) for p in (3, 4, 5, 6)]
    found = rows(asked, MATCHED, **lists(cases), **lists(candidates, "_b"), ratio=ratio)
    alone = rows(
        asked, "select * from ehr.match_cohort(array[1, 2], ratio => %(r)s, as_of => %(m)s)", r=ratio, m=day(12)
    )
    key = ("case_id", "control_id", "similarity")
    assert sorted(tuple(r[name] for name in key) for r in found) == sorted(
        tuple(r[name] for name in key) for r in alone
    )
    assert len(found) == 2 * ratio


def test_a_control_with_several_moments_is_used_once_at_the_best(asked: Database) -> None:
    cases = [(1, day(5)), (2, day(12))]
    candidates = [(p, moment) for p in (3, 4) for moment in (day(5), day(12))]
    found = rows(asked, MATCHED, **lists(cases), **lists(candidates, "_b"), ratio=1)
    assert len(found) == 2
    assert {row["control_id"] for row in found} == {3, 4}
    best = max(row["similarity"] for row in nearest(asked, cases, candidates))
    assert max(row["similarity"] for row in found) == pytest.approx(best)


def test_every_case_has_a_row_and_a_reason_without_controls(asked: Database) -> None:
    cases = [(1, day(5)), (404, day(5)), (2, day(5))]
    found = rows(asked, MATCHED, **lists(cases), **lists([(3, day(5)), (1, day(5))], "_b"), ratio=1)
    by_case = {row["case_id"]: (row["control_id"], row["reason"]) for row in found}
    assert by_case.pop(404) == (None, "unknown patient")
    assert sorted(by_case.values(), key=str) == [(3, None), (None, "no control is left")]


def test_no_match_is_made_while_a_candidate_is_not_embedded(asked: Database) -> None:
    found = rows(asked, MATCHED, **lists([(1, day(5))]), **lists([(3, day(5)), (4, day(20))], "_b"), ratio=1)
    assert [(r["control_id"], r["reason"]) for r in found] == [
        (None, "1 candidates are not embedded as of their moments")
    ]


def test_balance_as_of_one_moment_is_cohort_balance(asked: Database) -> None:
    for moment in (day(5), day(12), FOREVER):
        found = rows(
            asked,
            "select * from ehr.cohort_balance_at(%(ids)s, %(moments)s::timestamp[], %(ids_b)s,"
            " %(moments_b)s::timestamp[])",
            **lists([(1, moment), (2, moment)]),
            **lists([(3, moment), (4, moment)], "_b"),
        )
        assert found == rows(asked, "select * from ehr.cohort_balance(array[1, 2], array[3, 4], %(m)s)", m=moment)


def test_balance_counts_each_patient_up_to_his_own_moment(asked: Database) -> None:
    found = rows(
        asked,
        "select * from ehr.cohort_balance_at(array[1, 2], array['2020-01-05', '2020-01-30']::timestamp[],"
        " array[3, 4], array['2020-01-30', '2020-01-30']::timestamp[], 50)",
    )
    late = {row["covariate"]: row["mean_cohort"] for row in found}["text of SNOMED/late"]
    assert late == 0.5


def test_outcomes_as_of_one_moment_are_nearest_outcomes(asked: Database) -> None:
    everybody = [(p, day(12)) for p in range(1, 7)]
    found = rows(
        asked,
        "select group_name, patients, followed, with_outcome, share from ehr.nearest_outcomes_at("
        " %(ids)s, %(moments)s::timestamp[], 'SNOMED/late', '10 days', 3, %(ids_b)s, %(moments_b)s::timestamp[])",
        **lists([(1, day(12))]),
        **lists(everybody, "_b"),
    )
    question = "select * from ehr.nearest_outcomes(1, 'SNOMED/late', %(m)s, '10 days', 3)"
    assert found == rows(asked, question, m=day(12))
    assert [row["with_outcome"] for row in found] == [3, 5]


def test_each_candidate_is_followed_from_its_own_moment(asked: Database) -> None:
    found = rows(
        asked,
        "select * from ehr.nearest_outcomes_at(%(ids)s, %(moments)s::timestamp[], 'SNOMED/late', '7 days', 5,"
        " %(ids_b)s, %(moments_b)s::timestamp[])",
        **lists([(1, day(5)), (404, day(5))]),
        **lists([(2, day(5)), (3, day(5)), (4, day(5))], "_b"),
    )
    assert [(r["position"], r["group_name"], r["followed"], r["with_outcome"], r["reason"]) for r in found] == [
        (1, "nearest", 3, 0, None),
        (1, "everybody", 3, 0, None),
        (2, None, None, None, "unknown patient"),
    ]


def test_lists_that_do_not_fit_together_are_refused(connection: Connection) -> None:
    for question in (
        "select * from ehr.predict_at('death', array[1, 2], array['2020-01-01']::timestamp[])",
        "select * from ehr.similarity_at(array[1], array['2020-01-01']::timestamp[], '{}', '{}')",
        "select * from ehr.nearest_at(array[1], array[null]::timestamp[])",
    ):
        with pytest.raises(psycopg.Error) as caught, connection.transaction():
            connection.execute(question.encode())
        assert caught.value.sqlstate in ("EH007", "EH003")


def test_outcomes_ask_for_past_moments(asked: Database) -> None:
    question = "select count(*) from ehr.nearest_outcomes_at(array[1], array['infinity'::timestamp], 'SNOMED/late')"
    assert one(asked, question) == "EH010"


def test_an_omop_cohort_is_asked_about_in_one_call(asked: Database) -> None:
    with asked.transaction() as connection:
        connection.execute(
            "create schema results; create table results.cohort as"
            " select 7 as cohort_definition_id, p as subject_id, date '2020-01-04' + p as cohort_start_date,"
            "        date '2020-02-01' as cohort_end_date from generate_series(1, 3) p"
        )
    question = "select p.* from ehr.cohort_moments(7) c, ehr.predict_at('death', c.patient_ids, c.as_ofs) p"
    found = rows(asked, question)
    assert [(row["patient_id"], row["as_of"]) for row in found] == [
        (p, datetime(2020, 1, 4 + p, 23, 59)) for p in (1, 2, 3)
    ]
    assert all(row["probability"] is not None for row in found)


def test_vectors_as_of_a_moment_are_looked_up_by_patient_not_among_all(asked: Database) -> None:
    question = (
        "explain (costs off) select * from ehrdb.vectors_at(1, 1, array[1]::bigint[], array['2020-01-05']::timestamp[])"
    )
    with asked.transaction() as connection:
        plan = "\n".join(line for (line,) in connection.execute(question.encode()))
    assert "(n.patient_id = a.patient_id)" not in plan  # among what was made distinct of all
    assert "patient_id = a.patient_id" in plan
