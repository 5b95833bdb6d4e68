"""Search: complete, deterministic, and blind to the future."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import psycopg
import pytest

from ehrdb.database import Connection, Database
from ehrdb.embedding import Snapshot, refresh, registry
from ehrdb.embedding.vectors import import_vectors
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write, write_patients

MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def searchable(database: Database) -> Database:
    """Thirty embedded patients."""
    with database.transaction() as connection:
        write_patients(connection, 30)
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    return database


def neighbours(connection: Connection, arguments: str) -> list[tuple[int, float]]:
    rows = connection.execute(
        f"select patient_id, similarity from ehr.nearest_patients({arguments})".encode()  # noqa: S608
    ).fetchall()
    return [(int(row[0]), float(row[1])) for row in rows]


def test_neighbours_are_those_of_a_plain_comparison(searchable: Database) -> None:
    with searchable.transaction() as connection:
        got = neighbours(connection, "1, 5")
        rows = connection.execute("select patient_id, ehr.embedding(patient_id)::text from ehr.patient").fetchall()
    vectors = {int(p): np.array(v.strip("[]").split(","), dtype=float) for p, v in rows}
    cosine = {
        p: float(v @ vectors[1] / np.linalg.norm(v) / np.linalg.norm(vectors[1])) for p, v in vectors.items() if p != 1
    }
    wanted = sorted(cosine, key=lambda p: (-cosine[p], p))[:5]
    assert [p for p, _ in got] == wanted
    assert [s for _, s in got] == pytest.approx([cosine[p] for p in wanted], abs=1e-3)


def test_the_patient_is_not_a_neighbour_of_itself(searchable: Database) -> None:
    with searchable.transaction() as connection:
        assert 7 not in [p for p, _ in neighbours(connection, "7, 100")]


@pytest.mark.parametrize(("cohort", "rows"), [([], 0), ([2], 1), ([1], 0), (list(range(1, 31)), 10)])
def test_a_cohort_gives_as_many_rows_as_it_has(searchable: Database, cohort: list[int], rows: int) -> None:
    with searchable.transaction() as connection:
        assert len(neighbours(connection, f"1, 10, '{{{','.join(map(str, cohort))}}}'")) == rows


def test_the_index_gives_way_to_a_full_comparison_when_a_filter_starves_it(database: Database) -> None:
    build_index_whatever_the_size(database, 64)
    with database.transaction() as connection:
        answer_by_index(connection, "n[:3]")
        assert len(neighbours(connection, "1, 10, array(select generate_series(2, 12))")) == 10


def test_index_and_full_comparison_agree(database: Database) -> None:
    build_index_whatever_the_size(database, 64)
    with database.transaction() as connection:
        by_index = neighbours(connection, "1, 10")
        connection.execute("create or replace function ehrdb.exact_search_bound() returns integer return 20000")
        assert neighbours(connection, "1, 10") == by_index


@pytest.mark.parametrize("as_of", ["infinity", "2020-01-20"])
def test_equally_similar_patients_come_in_the_order_of_their_ids(database: Database, as_of: str) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), "SNOMED/same" if p > 1 else "SNOMED/other") for p in range(9, 0, -1)])
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        # The first become the last on disk.
        connection.execute("update ehrdb.patient_embedding set as_of = as_of where patient_id in (2, 3)")
        connection.execute("update ehrdb.embedding_point set as_of = as_of where patient_id in (2, 3)")
        assert [p for p, _ in neighbours(connection, f"1, 3, as_of => '{as_of}'")] == [2, 3, 4]
        assert [p for p, _ in neighbours(connection, "ehr.embedding(1), 4")] == [1, 2, 3, 4]


def test_a_vector_finds_its_own_patient_first(searchable: Database) -> None:
    with searchable.transaction() as connection:
        ((patient_id, similarity),) = neighbours(connection, "ehr.embedding(4), 1")
    assert patient_id == 4
    assert similarity == pytest.approx(1, abs=1e-6)


def test_similarity_is_one_with_oneself_and_symmetric(searchable: Database) -> None:
    with searchable.transaction() as connection:
        row = connection.execute("select ehr.similarity(1, 1), ehr.similarity(1, 2) - ehr.similarity(2, 1)").fetchone()
    assert row == (pytest.approx(1, abs=1e-6), 0)


def test_nobodys_future_is_looked_at(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(2), f"SNOMED/{p}") for p in (1, 2)] + [Record(3, day(9), "SNOMED/3")])
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        assert [p for p, _ in neighbours(connection, "1, 5, as_of => '2020-01-05'")] == [2]


def test_a_neighbour_whose_record_went_on_is_stale(searchable: Database) -> None:
    with searchable.transaction() as connection:
        write(connection, [Record(2, day(30), "SNOMED/1")])
        row = connection.execute("select is_stale from ehr.nearest_patients(1, 30) where patient_id = 2").fetchone()
    assert row == (True,)


@pytest.mark.parametrize(
    ("question", "sqlstate"),
    [
        ("select * from ehr.nearest_patients(999)", "EH001"),
        ("select * from ehr.nearest_patients(1, 5, encoder => 'none')", "EH003"),
        ("select ehr.embedding(1, '1999-01-01')", "EH004"),
        ("select * from ehr.nearest_patients(1, 0)", "EH010"),
        ("select ehr.timeline(1, format => 'poem')", "EH002"),
        ("select ehr.timeline(999)", "EH001"),
    ],
)
def test_asking_for_what_is_not_there_says_so_with_a_hint(searchable: Database, question: str, sqlstate: str) -> None:
    with searchable.transaction() as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(question.encode())
    assert caught.value.diag.sqlstate == sqlstate
    assert caught.value.diag.message_hint


def test_explanations_put_rare_shared_concepts_first(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), "SNOMED/common") for p in range(1, 9)])
        write(connection, [Record(p, day(2), "SNOMED/rare") for p in (1, 2)])
        write(connection, [Record(1, day(3), "LOINC/718-7", value=9.5, unit="g/dL")])
        connection.execute("select ehrdb.plan_refresh()")
        rows = connection.execute("select relation, code, value_a from ehr.explain_similarity(1, 2)").fetchall()
    assert rows == [
        ("shared", "SNOMED/rare", None),
        ("shared", "SNOMED/common", None),
        ("only_a", "LOINC/718-7", "9.5 g/dL"),
    ]


def weights(connection: Connection, a: int, b: int) -> dict[tuple[str, str], float]:
    connection.execute("select ehrdb.plan_refresh()")
    rows = connection.execute("select relation, code, weight from ehr.explain_similarity(%s, %s)", [a, b]).fetchall()
    return {(relation, code): weight for relation, code, weight in rows}


def test_rarity_counts_patients_and_not_how_often_they_have_it(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(n), "SNOMED/often") for p in (1, 2) for n in range(1, 6)])
        write(connection, [Record(3, day(1), "SNOMED/else")])
        assert weights(connection, 1, 2) == {("shared", "SNOMED/often"): pytest.approx(np.log(1 + 3 / 2))}


def test_an_explanation_shows_the_latest_value_by_then(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(1, day(1), "LOINC/1", 9.5), Record(1, day(4), "LOINC/1", 12.0)])
        write(connection, [Record(2, day(1), "LOINC/1", 7.0)])
        question = "select value_a, value_b from ehr.explain_similarity(1, 2, %s)"
        before = connection.execute(question, [day(4) - MICROSECOND]).fetchall()
        at = connection.execute(question, [day(4)]).fetchall()
    assert (before, at) == ([("9.5", "7")], [("12", "7")])


def test_a_related_pair_is_as_rare_as_the_commoner_of_the_two(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(1, day(1), "SNOMED/angina"), Record(9, day(1), "SNOMED/heart disease")])
        write(connection, [Record(p, day(1), "SNOMED/infarction") for p in (2, 3, 4)])
        connection.execute(
            "insert into ehrdb.concept_parent (child_id, parent_id)"
            " select c.code_id, p.code_id from ehrdb.concept c, ehrdb.concept p"
            "  where c.code in ('SNOMED/angina', 'SNOMED/infarction') and p.code = 'SNOMED/heart disease'"
        )
        assert weights(connection, 1, 2) == {("related", "SNOMED/heart disease"): pytest.approx(np.log(1 + 5 / 3))}


def test_row_level_security_limits_search_and_still_gives_k_rows(searchable: Database, analyst: Database) -> None:
    with searchable.transaction() as connection:
        connection.execute("alter table ehrdb.patient_embedding enable row level security")
        connection.execute(
            "create policy site on ehrdb.patient_embedding to ehr_analyst using (patient_id between 1 and 12)"
        )
    with analyst.transaction() as connection:
        found = neighbours(connection, "1, 10")
    assert len(found) == 10
    assert max(p for p, _ in found) <= 12


def test_a_snapshot_makes_a_past_search_complete(searchable: Database) -> None:
    with searchable.transaction() as connection:
        write(connection, [Record(p, day(25), f"SNOMED/{p}99") for p in range(1, 31)])
        encoder = registry.find(connection, None)
    snapshot = Snapshot(day(24))
    assert refresh(searchable, encoder, FakeEncoder, snapshot=snapshot).failed == 0
    with searchable.transaction() as connection:
        before = neighbours(connection, "1, 29, null, '2020-01-24 08:00'")
        assert len(before) == 29
        write(connection, [Record(p, day(26), "SNOMED/7") for p in range(1, 31)])
        assert neighbours(connection, "1, 29, null, '2020-01-24 08:00'") == before


def test_a_late_record_is_embedded_again_at_the_snapshot(searchable: Database) -> None:
    with searchable.transaction() as connection:
        encoder = registry.find(connection, None)
    refresh(searchable, encoder, FakeEncoder, snapshot=Snapshot(day(24)))
    with searchable.transaction() as connection:
        write(connection, [Record(2, day(3), "SNOMED/404"), Record(2, day(29), "SNOMED/405")])
    refresh(searchable, encoder, FakeEncoder)
    with searchable.transaction() as connection:
        row = connection.execute(
            "select count(*) from ehrdb.embedding_point p join ehrdb.embedding using (encoder_id, content_sha256)"
            " where patient_id = 2 and as_of = '2020-01-24 08:00' and content_sha256 ="
            " ehrdb.content_sha256('', ehr.timeline(2, '2020-01-24 08:00'))"
        ).fetchone()
    assert row == (1,)


def test_a_past_search_waits_for_a_late_record_to_be_embedded_at_the_snapshot(searchable: Database) -> None:
    with searchable.transaction() as connection:
        encoder = registry.find(connection, None)
    refresh(searchable, encoder, FakeEncoder, snapshot=Snapshot(day(24)))
    with searchable.transaction() as connection:
        write(connection, [Record(2, day(3), "SNOMED/404")])
    with searchable.transaction() as connection, pytest.raises(psycopg.Error, match="as of then: 2\n"):
        neighbours(connection, "1, 29, null, '2020-01-24 08:00'")
    refresh(searchable, encoder, FakeEncoder)
    with searchable.transaction() as connection:
        assert len(neighbours(connection, "1, 29, null, '2020-01-24 08:00'")) == 29


def test_a_past_search_compares_each_patient_once_however_often_they_are_embedded(searchable: Database) -> None:
    with searchable.transaction() as connection:
        encoder = registry.find(connection, None)
    for moment in (day(24), day(25)):
        refresh(searchable, encoder, FakeEncoder, snapshot=Snapshot(moment))
    with searchable.transaction() as connection:
        found = connection.execute(
            "select patient_id, known_until from ehr.nearest_patients(1, 40, as_of => '2020-01-26')"
        ).fetchall()
    assert sorted(found) == [(p, day(25)) for p in range(2, 31)]


def test_a_past_search_is_not_answered_from_an_older_text(searchable: Database) -> None:
    with searchable.transaction() as connection:
        encoder = registry.find(connection, None)
    refresh(searchable, encoder, FakeEncoder, snapshot=Snapshot(day(24)))
    with searchable.transaction() as connection:
        write(connection, [Record(2, day(25), "SNOMED/404"), Record(2, day(27), "SNOMED/405")])
    refresh(searchable, encoder, FakeEncoder)
    with searchable.transaction() as connection, pytest.raises(psycopg.Error, match="as of then: 2\n"):
        neighbours(connection, "1, 29, null, '2020-01-26'")


def test_a_past_search_that_would_miss_patients_names_the_snapshot_to_make(searchable: Database) -> None:
    with searchable.transaction() as connection:
        write(connection, [Record(31, day(2), "SNOMED/1"), Record(31, day(28), "SNOMED/2")])
        encoder = registry.find(connection, None)
    refresh(searchable, encoder, FakeEncoder)
    with searchable.transaction() as connection, pytest.raises(psycopg.Error) as caught:
        neighbours(connection, "1, 29, null, '2020-01-10 12:00'")
    assert caught.value.diag.sqlstate == "EH004"
    assert (caught.value.diag.message_hint or "").startswith(
        'Make a snapshot: ehrdb refresh --as-of "2020-01-10 12:00:00".'
    )


def test_a_snapshot_of_a_cohort_leaves_the_others_alone(searchable: Database) -> None:
    with searchable.transaction() as connection:
        encoder = registry.find(connection, None)
    refresh(searchable, encoder, FakeEncoder, snapshot=Snapshot(day(24), [1, 2, 3]))
    with searchable.transaction() as connection:
        rows = connection.execute(
            "select patient_id from ehrdb.embedding_point where as_of = '2020-01-24 08:00' order by 1"
        ).fetchall()
    assert rows == [(1,), (2,), (3,)]


def build_index_whatever_the_size(database: Database, dimension: int, matryoshka: tuple[int, ...] = ()) -> None:
    """Forty patients under an encoder of that dimension, searched through an index."""
    model = FakeEncoder(dimension, matryoshka=matryoshka)
    with database.transaction() as connection:
        connection.execute("create or replace function ehrdb.exact_search_bound() returns integer return 5")
        write_patients(connection, 40)
        encoder = registry.register(connection, model.manifest)
    refresh(database, encoder, lambda: model)


def answer_by_index(connection: Connection, part: str) -> None:
    """From now on the index finds this part of n, the true neighbours."""
    definition = (
        "create or replace function ehrdb.nearest_by_index(for_encoder_id integer, query public.halfvec, k integer,"  # noqa: S608
        f" cohort bigint[], excluded bigint) returns bigint[] language sql stable as $$ select {part}"
        " from ehrdb.nearest_exact(for_encoder_id, query, k, cohort, excluded) n $$"
    )
    connection.execute(definition.encode())


@pytest.mark.parametrize(
    ("dimension", "trained", "indexed"),
    [
        (64, (32, 64), "((embedding)::halfvec(64)) halfvec_cosine_ops"),
        (1_100, (256, 512, 1_100), "((subvector(embedding, 1, 512))::halfvec(512)) halfvec_cosine_ops"),
        (4_100, (2_048,), "((binary_quantize(embedding))::bit(4100)) bit_hamming_ops"),
        (4_100, (1_024, 2_048), "((subvector(embedding, 1, 1024))::halfvec(1024)) halfvec_cosine_ops"),
    ],
)
def test_recall_of_the_index_is_measured_in_the_database(
    database: Database, dimension: int, trained: tuple[int, ...], indexed: str
) -> None:
    build_index_whatever_the_size(database, dimension, trained)
    with database.transaction() as connection:
        definition = connection.execute("select indexdef from pg_indexes where strpos(indexdef, 'hnsw') > 0").fetchone()
        row = connection.execute("select is_indexed, queries, recall, worst from ehr.search_recall(5, 20)").fetchone()
    assert definition is not None
    assert indexed in definition[0].replace("public.", "")
    assert row == (True, 20, 1.0, 1.0)


def test_recall_is_the_mean_over_the_sample_beside_the_worst(database: Database) -> None:
    build_index_whatever_the_size(database, 64)
    with database.transaction() as connection:
        answer_by_index(
            connection, "n[case when excluded = 7 then 3 else 1 end:]"
        )  # patient 7's two nearest are missed
        row = connection.execute("select is_indexed, queries, recall, worst from ehr.search_recall(5, 40)").fetchone()
    assert row == (True, 40, pytest.approx((39 + 0.6) / 40), pytest.approx(0.6))


def test_row_level_security_holds_in_a_search_by_index(database: Database, analyst: Database) -> None:
    build_index_whatever_the_size(database, 64)
    with database.transaction() as connection:
        connection.execute("alter table ehrdb.patient_embedding enable row level security")
        connection.execute("create policy site on ehrdb.patient_embedding to ehr_analyst using (patient_id > 20)")
    with analyst.transaction() as connection:
        found = neighbours(connection, "1, 10")
    assert len(found) == 10
    assert min(p for p, _ in found) > 20


def test_a_search_by_index_leaves_the_sessions_settings_as_they_were(database: Database) -> None:
    build_index_whatever_the_size(database, 64)
    with database.transaction() as connection:
        connection.execute("set local hnsw.ef_search = 41")
        assert len(neighbours(connection, "1, 10")) == 10
        row = connection.execute(
            "select current_setting('hnsw.ef_search'), current_setting('hnsw.iterative_scan')"
        ).fetchone()
    assert row == ("41", "off")


@pytest.mark.parametrize(
    ("vectors", "links", "width"),
    [
        *[(0, 16, 200), (100_000, 16, 200), (200_000, 16, 400), (800_000, 16, 800), (1e6, 16, 864), (1e8, 16, 1000)],
        *[(200_000, 24, 200), (1e6, 24, 200), (2e6, 24, 400), (1e8, 24, 1000)],
    ],
)
def test_the_more_vectors_an_index_holds_the_more_candidates_a_search_keeps(
    database: Database, superuser: Connection, vectors: float, links: int, width: int
) -> None:
    with database.transaction() as connection:
        encoder = add_encoder(connection)
    partition = f"ehrdb.patient_embedding_{encoder.encoder_id}"
    superuser.execute(
        f"create index patient_embedding_{encoder.encoder_id}_hnsw on {partition}"
        f" using hnsw ((embedding::public.halfvec(16)) public.halfvec_cosine_ops) with (m = {links})".encode()
    )
    superuser.execute("update pg_class set reltuples = %s where oid = %s::regclass", [vectors, partition])
    assert superuser.execute("select ehrdb.search_width(%s)", [encoder.encoder_id]).fetchone() == (width,)


@pytest.mark.usefixtures("ordinary_owner")  # a policy tells, which a superuser would pass by
@pytest.mark.parametrize(("asked", "kept"), [(41, {"41", "200"}), (700, {"700"})])
def test_a_caller_may_ask_for_more_candidates_than_a_search_keeps_by_itself(
    database: Database, asked: int, kept: set[str]
) -> None:
    build_index_whatever_the_size(database, 64)
    with database.transaction() as connection:
        connection.execute("alter table ehrdb.patient_embedding enable row level security, force row level security")
        connection.execute(
            "create function public.note_width() returns boolean language sql"
            " return set_config('test.widths', concat_ws(' ', nullif(current_setting('test.widths', true), ''),"
            "                                            current_setting('hnsw.ef_search')), true) is not null"
        )
        connection.execute("create policy noted on ehrdb.patient_embedding using (public.note_width())")
        connection.execute(f"set local hnsw.ef_search = {asked}".encode())
        neighbours(connection, "1, 10")
        ((widths,),) = connection.execute("select current_setting('test.widths')").fetchall()
    assert set(widths.split()) == kept


def test_searches_among_few_are_exact_and_say_so(searchable: Database) -> None:
    with searchable.transaction() as connection:
        row = connection.execute("select is_indexed, recall from ehr.search_recall()").fetchone()
    assert row == (False, 1.0)


def test_an_explanation_pairs_concepts_under_one_ancestor_and_leaves_out_who_and_where(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(1, day(1), "SNOMED/angina"), Record(2, day(1), "SNOMED/infarction")])
        write(connection, [Record(3, day(1), "SNOMED/heart disease")])
        write(connection, [Record(p, day(1), code) for p in (1, 2) for code in ("Gender/F", "MEDS_BIRTH", "Visit/IP")])
        connection.execute(
            "insert into ehrdb.concept_parent (child_id, parent_id)"
            " select c.code_id, p.code_id from ehrdb.concept c, ehrdb.concept p"
            "  where c.code in ('SNOMED/angina', 'SNOMED/infarction') and p.code = 'SNOMED/heart disease'"
        )
        connection.execute("select ehrdb.plan_refresh()")
        rows = connection.execute(
            "select relation, code, value_a, value_b from ehr.explain_similarity(1, 2)"
        ).fetchall()
    assert rows == [("related", "SNOMED/heart disease", "text of SNOMED/angina", "text of SNOMED/infarction")]


def test_a_centroid_is_nearest_to_its_own_cohort(searchable: Database) -> None:
    with searchable.transaction() as connection:
        found = neighbours(connection, "ehr.centroid(array[4, 9]), 2")
    assert {p for p, _ in found} == {4, 9}


def test_a_centroid_is_the_mean_of_directions_whatever_the_vectors_lengths(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        write_patients(connection, 2)
    rows = [(1, day(30), [30.0, 0.0]), (2, day(30), [0.0, 0.5])]
    columns = ["patient_id", "prediction_time", "embedding"]
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(tmp_path / "vectors.parquet")
    import_vectors(database, tmp_path / "vectors.parquet", "made elsewhere")
    with database.transaction() as connection:
        row = connection.execute("select ehr.centroid(array[1, 2])::real[]").fetchone()
    assert row == ([pytest.approx(0.5**0.5)] * 2,)


def test_a_centroid_of_nobody_is_an_error(searchable: Database) -> None:
    with searchable.transaction() as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute("select ehr.centroid('{}')")
    assert caught.value.diag.sqlstate == "EH004"


def test_outlying_patients_are_the_farthest_from_the_centroid(searchable: Database) -> None:
    with searchable.transaction() as connection:
        order = [p for p, _ in neighbours(connection, "ehr.centroid(null), 30")]
        outlying = [row[0] for row in connection.execute("select patient_id from ehr.outlying_patients(5)")]
    assert outlying == order[::-1][:5]


def test_duplicates_are_found_once_with_their_reason(database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 8)
        write(connection, [Record(p, day(28), "SNOMED/7") for p in (11, 12)])
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        rows = connection.execute("select * from ehr.duplicate_patients()").fetchall()
    assert rows == [(11, 12, pytest.approx(1), True)]


@pytest.fixture
def followed(database: Database) -> Database:
    """Forty patients with a snapshot at day 24 and records to day 31; the first 24 have a stroke on day 26."""
    with database.transaction() as connection:
        write_patients(connection, 40)
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder, snapshot=Snapshot(day(24)))
    with database.transaction() as connection:
        write(connection, [Record(p, day(26), "SNOMED/stroke") for p in range(1, 25)])
        write(connection, [Record(p, day(31), "SNOMED/alive") for p in range(1, 36)])
    return database


def snapshot(database: Database, moment: datetime) -> None:
    """Everybody's text as of then, embedded; a record may have come since the last time."""
    with database.transaction() as connection:
        encoder = registry.find(connection, None)
    refresh(database, encoder, FakeEncoder, snapshot=Snapshot(moment))


def test_who_died_without_the_outcome_is_followed(followed: Database) -> None:
    with followed.transaction() as connection:
        connection.execute(
            "delete from ehrdb.event using ehrdb.concept c where code = 'SNOMED/alive' and event.code_id = c.code_id"
        )
        connection.execute("update ehrdb.patient set death_time = '2020-01-28' where patient_id between 25 and 36")
        connection.execute("update ehrdb.patient set death_time = '2020-02-28' where patient_id = 37")
        rows = outcomes(connection, "40, 'SNOMED/stroke', '2020-01-24 08:00', '5 days', 39")
    assert rows[1] == ("everybody", 39, 36, 24, pytest.approx(24 / 36))


def outcomes(connection: Connection, arguments: str) -> list[tuple[object, ...]]:
    return connection.execute(f"select * from ehr.nearest_outcomes({arguments})".encode()).fetchall()  # noqa: S608


def test_outcomes_of_the_nearest_are_counted_beside_everybodys(followed: Database) -> None:
    with followed.transaction() as connection:
        rows = outcomes(connection, "40, 'SNOMED/stroke', '2020-01-24 08:00', '5 days', 39")
    assert rows == [(group, 39, 35, 24, pytest.approx(24 / 35)) for group in ("nearest", "everybody")]


def test_a_count_below_eleven_is_not_shown_nor_derivable(followed: Database) -> None:
    with followed.transaction() as connection:
        connection.execute(
            "delete from ehrdb.event using ehrdb.concept c where code = 'SNOMED/stroke'"
            " and event.code_id = c.code_id and patient_id > 20"
        )
        rows = outcomes(connection, "40, 'SNOMED/stroke', '2020-01-24 08:00', '5 days', 9")
    assert rows[0][3:] == (None, None)
    assert rows[1] == ("everybody", 39, 35, 20, pytest.approx(20 / 35))


@pytest.mark.parametrize(("with_outcome", "is_shown"), [(9, False), (10, False), (11, True), (24, True), (25, False)])
def test_ten_is_too_few_to_be_shown_with_the_outcome_or_without(
    followed: Database, with_outcome: int, is_shown: bool
) -> None:
    with followed.transaction() as connection:
        write(connection, [Record(p, day(27), "SNOMED/fall") for p in range(1, with_outcome + 1)])
        (_, everybody) = outcomes(connection, "40, 'SNOMED/fall', '2020-01-24 08:00', '7 days', 39")
    assert everybody[2] == 35
    assert everybody[3:] == ((with_outcome, pytest.approx(with_outcome / 35)) if is_shown else (None, None))


@pytest.mark.parametrize(
    ("moment", "counts"),
    [(day(24), 0), (day(24) + MICROSECOND, 1), (day(29), 1), (day(29) + MICROSECOND, 0)],
)
@pytest.mark.parametrize("outcome", ["SNOMED/fall", "falls"])
def test_an_outcome_counts_after_the_moment_and_up_to_the_horizon(
    followed: Database, outcome: str, moment: datetime, counts: int
) -> None:
    with followed.transaction() as connection:
        connection.execute("insert into ehrdb.task values ('falls', 'site', 'binary', '', '{}')")
        for patient in range(1, 36):
            write(connection, [Record(patient, moment, "SNOMED/fall")])
            connection.execute("insert into ehrdb.label values ('falls', %s, %s, 1)", [patient, moment])
    snapshot(followed, day(24))
    with followed.transaction() as connection:
        (_, everybody) = outcomes(connection, f"40, '{outcome}', '{day(24)}', '5 days', 39")
    assert everybody[3] == 35 * counts


def test_who_had_no_record_by_then_is_not_counted(followed: Database) -> None:
    with followed.transaction() as connection:
        write(connection, [Record(p, day(26), "SNOMED/stroke") for p in range(41, 61)])
        rows = outcomes(connection, f"40, 'SNOMED/stroke', '{day(24)}', '5 days', 39")
    assert rows[1] == ("everybody", 39, 35, 24, pytest.approx(24 / 35))


def test_followed_is_who_has_a_record_up_to_the_end_of_the_horizon(followed: Database) -> None:
    with followed.transaction() as connection:
        to_the_end, a_little_longer = (
            outcomes(connection, f"40, 'SNOMED/stroke', '{day(25)}', '6 days {more} microseconds', 39")
            for more in (0, 1)
        )
    assert [row[2] for row in to_the_end] == [35, 35]
    assert [row[2] for row in a_little_longer] == [24, 24]  # the outcome itself is enough


def test_outcomes_before_as_of_do_not_count(followed: Database) -> None:
    snapshot(followed, datetime(2020, 1, 27))
    with followed.transaction() as connection:
        rows = outcomes(connection, "40, 'SNOMED/stroke', '2020-01-27', '3 days', 39")
    assert rows[1][3] == 0


@pytest.mark.parametrize(
    ("arguments", "sqlstate"),
    [("1, 'SNOMED/none', '2020-01-24 08:00'", "EH005"), ("1, 'SNOMED/stroke', 'infinity'", "EH010")],
)
def test_outcomes_that_cannot_be_counted_say_why(followed: Database, arguments: str, sqlstate: str) -> None:
    with followed.transaction() as connection, pytest.raises(psycopg.Error) as caught:
        outcomes(connection, arguments)
    assert caught.value.diag.sqlstate == sqlstate
    assert caught.value.diag.message_hint


def matched(connection: Connection, arguments: str) -> list[tuple[int, int]]:
    rows = connection.execute(f"select case_id, control_id from ehr.match_cohort({arguments})".encode())  # noqa: S608
    return [(int(case), int(control)) for case, control in rows]


def test_each_case_gets_its_controls_and_each_control_one_case(searchable: Database) -> None:
    with searchable.transaction() as connection:
        pairs = matched(connection, "array[1, 2, 3], ratio => 5")
    assert sorted(case for case, _ in pairs) == [1] * 5 + [2] * 5 + [3] * 5
    assert len({control for _, control in pairs}) == 15
    assert {1, 2, 3}.isdisjoint(control for _, control in pairs)


def test_a_match_is_greedy_over_all_pairs(searchable: Database) -> None:
    with searchable.transaction() as connection:
        pairs = matched(connection, "array[1, 2, 3, 4, 5, 6]")
        rows = connection.execute(
            "select a, b, ehr.similarity(a, b) from generate_series(1, 6) a, generate_series(7, 30) b"
        ).fetchall()
    greedy: list[tuple[int, int]] = []
    for case, control, _ in sorted(rows, key=lambda row: (-row[2], row[0], row[1])):
        if case not in dict(greedy) and control not in [taken for _, taken in greedy]:
            greedy.append((case, control))
    assert pairs == greedy


def test_cases_compete_for_few_candidates_until_none_is_left(searchable: Database) -> None:
    with searchable.transaction() as connection:
        pairs = matched(connection, "array(select generate_series(1, 10)::bigint), array[11, 12, 13], ratio => 2")
    assert sorted(control for _, control in pairs) == [11, 12, 13]


def test_matches_keep_to_caliper_sex_and_age_band(searchable: Database) -> None:
    with searchable.transaction() as connection:
        connection.execute(
            "update ehrdb.patient set sex = case when patient_id % 2 = 0 then 'F' else 'M' end,"
            " birth_time = date '2020-06-01' - patient_id::integer * interval '2 years'"
        )
        pairs = matched(connection, "array[9, 10, 11], ratio => 2, same_sex => true, age_band => 10")
        near = matched(connection, "array[9], ratio => 29, caliper => 0.8")
        distances = [row[0] for row in connection.execute("select 1 - ehr.similarity(9, p) from ehr.patient p0 (p)")]
    assert pairs
    assert all(case % 2 == control % 2 for case, control in pairs)
    assert all((2 * case - 1) // 10 == (2 * control - 1) // 10 for case, control in pairs)
    assert len(near) == sum(0 < distance <= 0.8 for distance in map(float, distances) if distance > 1e-6)


def test_a_match_as_of_a_past_day_is_not_moved_by_what_came_later(followed: Database) -> None:
    arguments = "array[1, 2, 3], ratio => 3, as_of => '2020-01-24 08:00'"
    with followed.transaction() as connection:
        before = matched(connection, arguments)
        write(connection, [Record(p, day(30), "SNOMED/later") for p in range(1, 20)])
        assert matched(connection, arguments) == before


def test_the_age_that_matches_is_that_of_the_moment(followed: Database) -> None:
    with followed.transaction() as connection:
        connection.execute("update ehrdb.patient set birth_time = timestamp '1985-06-01'")
        arguments = "array[1, 2, 3], ratio => 3, age_band => 10, as_of => '2020-01-24 08:00'"
        before = matched(connection, arguments)
        write(connection, [Record(p, day(24) + timedelta(days=4000), "SNOMED/later") for p in range(1, 40, 2)])
        assert matched(connection, arguments) == before


def test_a_balance_as_of_a_past_day_is_not_moved_by_what_came_later(searchable: Database) -> None:
    question = "select * from ehr.cohort_balance(array[1, 2, 3], array[4, 5, 6], %s, 3)"
    with searchable.transaction() as connection:
        before = connection.execute(question, [day(24)]).fetchall()
        later = [Record(p, day(26), code) for p in (1, 2, 3) for code in ("SNOMED/later", "SNOMED/41")]
        write(connection, [*later, *[Record(4, day(27), row[0].split()[-1]) for row in before[5:]]])
        assert connection.execute(question, [day(24)]).fetchall() == before


def test_differences_are_in_units_of_the_sample_standard_deviation(database: Database) -> None:
    ages = {1: 31, 2: 44, 3: 62, 4: 35, 5: 35, 6: 38, 7: 71}
    with database.transaction() as connection:
        write(connection, [Record(p, datetime(2020, 1, 1), "SNOMED/1") for p in ages])
        connection.execute(
            "update ehrdb.patient set birth_time = timestamp '2020-01-01' - a.age * interval '365.25 days'"
            "  from unnest(%s::int[], %s::int[]) a (patient_id, age) where a.patient_id = patient.patient_id",
            [list(ages), list(ages.values())],
        )
        balance = connection.execute("select * from ehr.cohort_balance(array[1, 2, 3], array[4, 5, 6, 7])").fetchall()
    a, b = np.array(list(ages.values())[:3]), np.array(list(ages.values())[3:])
    difference = (a.mean() - b.mean()) / np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    assert balance[0] == ("age at the last event (years)", *map(pytest.approx, (a.mean(), b.mean(), difference)))


def test_balance_is_zero_within_and_large_between_unlike_groups(followed: Database) -> None:
    question = "select covariate, standardized_difference from ehr.cohort_balance({}, {}, concepts => 1)"
    with followed.transaction() as connection:
        same = connection.execute(question.format("array[1, 2]", "array[1, 2]").encode()).fetchall()
        connection.execute("update ehrdb.patient set sex = case when patient_id in (1, 30) then 'F' else 'M' end")
        write(connection, [Record(p, day(27), "SNOMED/9") for p in (31, 32)])
        apart = dict(connection.execute(question.format("array[1, 2, 3]", "array[30, 31, 32]").encode()).fetchall())
    assert {difference for _, difference in same if difference is not None} == {0}
    assert apart["female"] == 0
    assert apart["events (logarithm)"] > 0


def test_the_concepts_in_which_groups_differ_most_come_first(database: Database) -> None:
    """Everybody has 1; 2 is rarer among the cases, 3 more frequent; 4 all cases have and no control."""
    cases, controls = range(1, 11), range(11, 21)
    with database.transaction() as connection:
        have = {1: [*cases, *controls], 2: [1, 2, *controls[:8]], 3: [*cases[:6], *controls[:5]], 4: cases}
        write(connection, [Record(p, day(code), f"SNOMED/{code}") for code, who in have.items() for p in who])
        rows = connection.execute(
            "select * from ehr.cohort_balance(%s::bigint[], %s::bigint[], concepts => 3)", [[*cases], [*controls]]
        ).fetchall()
    a, b = np.isin(np.arange(1, 21), have[2])[:10], np.isin(np.arange(1, 21), have[2])[10:]
    difference = (a.mean() - b.mean()) / np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    assert rows[5:] == [
        ("text of SNOMED/4", 1.0, 0.0, None),
        ("text of SNOMED/2", 0.2, 0.8, pytest.approx(difference)),
        ("text of SNOMED/3", 0.6, 0.5, pytest.approx(0.19, abs=0.01)),
    ]


def test_years_of_record_begin_with_the_first_event_after_birth(database: Database) -> None:
    with database.transaction() as connection:
        for patient in (1, 2):
            write(
                connection, [Record(patient, day(1), "MEDS_BIRTH"), Record(patient, datetime(2060, 1, 1), "SNOMED/1")]
            )
            write(connection, [Record(patient, datetime(2062, 1, 1), "SNOMED/2")])
        connection.execute("update ehrdb.patient set birth_time = %s", [day(1)])
        found = connection.execute(
            "select covariate, mean_cohort from ehr.cohort_balance(array[1], array[2], concepts => 0)"
        ).fetchall()
    assert dict(found)["years of record"] == pytest.approx(2, abs=0.01)
    assert dict(found)["age at the last event (years)"] == pytest.approx(42, abs=0.01)
