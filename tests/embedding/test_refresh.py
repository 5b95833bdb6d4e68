"""Refresh: what is stale is embedded once, what fails is singled out, nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import psycopg
import pytest
from psycopg import sql

from ehrdb.database import Database
from ehrdb.embedding import Queue, RefreshResult, refresh, registry
from ehrdb.embedding.index import ensure_index
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.errors import RefreshError
from ehrdb.testing import FakeEncoder
from tests.conftest import run as as_superuser
from tests.conftest import same_database
from tests.records import Record, add_encoder, day, write, write_patients


@pytest.fixture
def encoder(database: Database) -> RegisteredEncoder:
    with database.transaction() as connection:
        write_patients(connection, 10)
        return add_encoder(connection)


def run(database: Database, encoder: RegisteredEncoder, model: FakeEncoder | None = None) -> RefreshResult:
    model = model or FakeEncoder()
    return refresh(database, encoder, lambda: model)


def ask(database: Database, question: str, values: Sequence[object] = ()) -> object:
    with database.transaction() as connection:
        row = connection.execute(question.encode(), values).fetchone()
        assert row is not None
        return row[0]


def test_every_patient_gets_a_vector(database: Database, encoder: RegisteredEncoder) -> None:
    result = run(database, encoder)
    assert (result.embedded, result.failed, result.exit_code) == (10, 0, 0)
    assert ask(database, "select count(*) from ehrdb.patient_embedding") == 10


def test_a_second_refresh_does_not_even_load_the_model(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder)

    def load() -> FakeEncoder:
        raise AssertionError("the model was loaded")

    assert refresh(database, encoder, load).embedded == 0


def test_a_new_event_embeds_its_patient_alone(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder)
    with database.transaction() as connection:
        write(connection, [Record(3, day(30), "LOINC/718-7", value=13.5, unit="g/dL")])
    assert run(database, encoder).embedded == 1


def test_touching_an_event_without_changing_the_text_embeds_nothing(
    database: Database, encoder: RegisteredEncoder
) -> None:
    run(database, encoder)
    with database.transaction() as connection:
        connection.execute("update ehrdb.event set visit_id = 'v1'")
    assert run(database, encoder).embedded == 0


def test_a_replaced_text_leaves_no_vector_behind(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder)
    with database.transaction() as connection:
        write(connection, [Record(3, day(1, 0), "SNOMED/late")])  # before all that was embedded of patient 3
    run(database, encoder)
    assert ask(database, "select count(*) from ehrdb.embedding") == 10


def test_equal_texts_are_embedded_once(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), "SNOMED/38341003") for p in (1, 2, 3)])
        encoder = add_encoder(connection)
    model = FakeEncoder()
    run(database, encoder, model)
    assert len(model.seen) == 1
    assert ask(database, "select count(*) from ehrdb.patient_embedding") == 3


def test_a_poison_text_is_singled_out_and_named_without_its_content(
    database: Database, encoder: RegisteredEncoder
) -> None:
    result = run(database, encoder, FakeEncoder(poison="SNOMED/40"))
    assert (result.embedded, result.failed, result.exit_code) == (9, 1, 1)
    assert ask(database, "select reason from ehrdb.embedding_job") == "NonFiniteVector"
    assert ask(database, "select pending from ehr.embedding_status") == 1


def test_a_failed_text_is_not_tried_again_at_once(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder, FakeEncoder(poison="SNOMED/40"))
    assert run(database, encoder).waiting == 1


def test_retry_gives_a_dead_text_a_new_chance(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder, FakeEncoder(poison="SNOMED/40"))
    with database.transaction() as connection:
        connection.execute("update ehrdb.embedding_job set attempts = 5, is_dead = true")
    assert run(database, encoder).dead == 1
    assert Queue(database, encoder, "test").retry() == 1
    assert run(database, encoder).embedded == 1


def test_a_text_is_tried_five_times_ever_more_patiently_and_then_given_up(
    database: Database, encoder: RegisteredEncoder
) -> None:
    delays = []
    for _ in range(5):
        assert ask(database, "select count(*) from ehrdb.embedding_job where is_dead") == 0
        run(database, encoder, FakeEncoder(poison="SNOMED/40"))
        delays.append(
            ask(database, "select round(extract(epoch from not_before - now()) / 60)::integer from ehrdb.embedding_job")
        )
        with database.transaction() as connection:
            connection.execute("update ehrdb.embedding_job set not_before = '-infinity'")
    assert delays == [1, 4, 16, 64, 256]
    assert ask(database, "select (attempts, is_dead)::text from ehr.failed_embedding") == "(5,t)"
    assert run(database, encoder).embedded == 0


def test_what_is_given_up_is_not_pending(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder, FakeEncoder(poison="SNOMED/40"))
    with database.transaction() as connection:
        connection.execute("update ehrdb.embedding_job set attempts = 5, is_dead = true")
    status = "select (pending, retrying, dead, oldest_pending is null)::text from ehr.embedding_status"
    assert ask(database, status) == "(0,0,1,t)"


class BrokenEncoder(FakeEncoder):
    """Fails on everything without blaming a text."""

    def _vectors(self, texts: list[str]) -> npt.NDArray[np.float32]:
        raise OSError("no such device")


def test_a_broken_system_burns_no_attempts(database: Database, encoder: RegisteredEncoder) -> None:
    with pytest.raises(RefreshError, match="OSError"):
        run(database, encoder, BrokenEncoder())
    assert ask(database, "select sum(attempts)::int from ehrdb.embedding_job") == 0


def test_what_another_worker_holds_is_left_to_it(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        connection.execute("select ehrdb.plan_refresh()")
    Queue(database, encoder, "other").claim(100)
    result = run(database, encoder)
    assert (result.embedded, result.leased, result.exit_code) == (0, 10, 3)


def test_what_changed_since_it_was_queued_is_not_claimed(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        connection.execute("select ehrdb.plan_refresh()")
        write(connection, [Record(3, day(1, 0), "SNOMED/late")])
    claimed = Queue(database, encoder, "one").claim(100)
    assert len(claimed) == 9
    assert not any("SNOMED/30" in text for _, text in claimed)


def test_what_one_worker_holds_another_does_not_claim(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        connection.execute("select ehrdb.plan_refresh()")
    first = {content for content, _ in Queue(database, encoder, "one").claim(4)}
    second = {content for content, _ in Queue(database, encoder, "other").claim(100)}
    assert (len(first), len(second), first & second) == (4, 6, set())


def test_a_worker_gives_back_what_it_holds_and_nothing_of_others(
    database: Database, encoder: RegisteredEncoder
) -> None:
    with database.transaction() as connection:
        connection.execute("select ehrdb.plan_refresh()")
    one, other = Queue(database, encoder, "one"), Queue(database, encoder, "other")
    one.claim(4)
    other.claim(3)
    one.release()
    assert (other.outlook().leased, other.outlook().ready) == (3, 7)


@pytest.mark.parametrize(
    "statement",
    [
        "select ehrdb.plan_refresh()",
        "select ehrdb.plan_snapshot(1, '2020-01-12', null)",
        "select ehrdb.plan_labels(1, 'none', 1)",
        "select ehrdb.plan_index_dates(1, array[1], array['2020-01-12']::timestamp[])",
        "select ehrdb.purge_patients(array[1])",
    ],
)
def test_one_plans_at_a_time_and_nobody_is_purged_meanwhile(
    database: Database, encoder: RegisteredEncoder, statement: str
) -> None:
    run(database, encoder)  # no marks are left that the two could meet at
    with database.transaction() as connection:
        connection.execute("alter function ehrdb.wait_to_plan() set lock_timeout = '200ms'")
    with database.transaction() as planning:
        planning.execute("select ehrdb.plan_refresh()")
        with database.transaction() as waiting:
            with pytest.raises(psycopg.DatabaseError) as caught:
                waiting.execute(statement.encode())
            waiting.rollback()
    assert caught.value.sqlstate == "EH012"


def test_an_expired_lease_is_taken_over(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as connection:
        connection.execute("select ehrdb.plan_refresh()")
    Queue(database, encoder, "gone", lease_seconds=0).claim(100)
    assert run(database, encoder).embedded == 10


def test_interrupted_it_keeps_what_is_stored_and_resumes(database: Database, encoder: RegisteredEncoder) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refresh(database, encoder, FakeEncoder, progress=interrupt)
    assert ask(database, "select count(*) from ehrdb.embedding") == 4
    assert run(database, encoder).embedded == 6


def test_told_to_stop_it_finishes_the_batch_in_hand(database: Database, encoder: RegisteredEncoder) -> None:
    stops = iter([False, True, True])
    result = refresh(database, encoder, FakeEncoder, should_stop=lambda: next(stops))
    assert (result.embedded, result.leased) == (4, 0)


def test_a_late_record_drops_the_vectors_that_it_makes_wrong(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder)
    with database.transaction() as connection:
        write(connection, [Record(3, day(28), "SNOMED/1"), Record(3, day(2), "SNOMED/2")])
    run(database, encoder)
    assert ask(database, "select count(*) from ehrdb.embedding_point where patient_id = 3") == 1


def test_an_earlier_moment_keeps_its_vector_when_the_record_goes_on(
    database: Database, encoder: RegisteredEncoder
) -> None:
    run(database, encoder)
    before = ask(database, "select ehr.embedding(3, '2020-01-25')::text")
    with database.transaction() as connection:
        write(connection, [Record(3, day(28), "SNOMED/1")])
    run(database, encoder)
    assert ask(database, "select ehr.embedding(3, '2020-01-25')::text") == before
    assert ask(database, "select ehr.embedding(3)::text") != before


def test_status_counts_a_changed_patient_before_and_after(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder)
    with database.transaction() as connection:
        write(connection, [Record(3, day(28), "SNOMED/1")])
    assert ask(database, "select unchecked from ehr.embedding_status") == 1
    with database.transaction() as connection:
        connection.execute("select ehrdb.plan_refresh()")
    assert ask(database, "select stale from ehr.embedding_status") == 1
    run(database, encoder)
    assert ask(database, "select (stale, unchecked)::text from ehr.embedding_status") == "(0,0)"


def test_request_refresh_marks_patients(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder)
    assert ask(database, "select ehr.request_refresh(array[1, 2, 999])") == 2
    assert run(database, encoder).embedded == 0


def test_a_second_encoder_backfills_beside_the_serving_one(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder)
    with database.transaction() as connection:
        second = add_encoder(connection, "second")
    assert run(database, second, FakeEncoder()).embedded == 10
    assert ask(database, "select name from ehr.encoder where is_serving") == "fake"


@pytest.mark.parametrize("format_name", ["list_recent", "list_recent_only_labs", "list_admission"])
def test_who_has_nothing_to_embed_in_an_encoders_format_is_not_waited_for(
    database: Database, encoder: RegisteredEncoder, format_name: str
) -> None:
    """What every patient here has is told as demographics: only the plain list shows it."""
    with database.transaction() as connection:
        connection.execute(
            "insert into ehrdb.concept_category (rules, code_id, category)"
            " select r.rules, c.code_id, 'demographics'"
            "   from (select distinct rules from ehrdb.format) r cross join ehrdb.concept c"
            "     on conflict (rules, code_id) do update set category = excluded.category"
        )
        connection.execute("update ehrdb.encoder set format = %s", [format_name])
        reason = connection.execute("select ehrdb.why_no_vector(%s, 1, 'infinity')", [encoder.encoder_id]).fetchone()
    assert reason == ("not embedded as of then" if format_name == "list_recent" else "nothing to embed by then",)


def indexes(database: Database) -> object:
    return ask(database, "select count(*) from pg_indexes where strpos(indexdef, 'hnsw') > 0")


def test_few_patients_are_searched_exactly_and_need_no_index(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder)
    assert indexes(database) == 0


def test_the_search_index_is_built_after_the_backfill(database: Database, encoder: RegisteredEncoder) -> None:
    lower_bound(database)
    run(database, encoder)
    assert indexes(database) == 1


# Two bytes a dimension and, for each vector, so much of the graph: of many vectors it is wide.
@pytest.mark.parametrize(("megabytes", "of_the_graph"), [(64, 720), (256, 976)])
def test_an_index_that_is_built_in_too_little_memory_says_how_much_it_takes(
    database: Database, encoder: RegisteredEncoder, caplog: pytest.LogCaptureFixture, megabytes: int, of_the_graph: int
) -> None:
    lower_bound(database)
    with database.transaction() as connection:
        place = sql.Identifier(connection.info.dbname)
        connection.execute(
            sql.SQL("alter database {} set maintenance_work_mem = {}").format(place, sql.Literal(f"{megabytes}MB"))
        )
    database.engine.dispose()
    run(database, encoder)
    assert "maintenance_work_mem" not in caplog.text
    claim_embedded(database, megabytes * 2**20 // (2 * encoder.dimension + of_the_graph) + 1)
    assert ensure_index(database, encoder, rebuild=True)
    assert f"takes {megabytes} MB while it is built" in caplog.text
    assert f" set maintenance_work_mem = '{megabytes + 1}MB'" in caplog.text


@pytest.mark.parametrize(("vectors", "options"), [(100_000, None), (100_001, ["m=24", "ef_construction=128"])])
def test_an_index_of_many_vectors_is_built_wide(
    database: Database, encoder: RegisteredEncoder, vectors: int, options: list[str] | None
) -> None:
    lower_bound(database)
    run(database, encoder)
    claim_embedded(database, vectors)
    assert ensure_index(database, encoder, rebuild=True)
    assert ask(database, "select reloptions from pg_class where relname = 'patient_embedding_1_hnsw'") == options


def claim_embedded(database: Database, vectors: int) -> None:
    """The kept figure of how many there are."""
    with database.transaction() as connection:
        connection.execute(
            "update ehrdb.figure f set embedded = case when f.ctid = first then %s else 0 end"
            "  from (select min(ctid) as first from ehrdb.figure where encoder_id = 1) x where encoder_id = 1",
            [vectors],
        )


def test_a_half_built_index_is_built_anew(database: Database, server_url: str, encoder: RegisteredEncoder) -> None:
    lower_bound(database)
    run(database, encoder)
    # A superuser's act, in a session that is gone before an index is built: a concurrent build waits for everybody.
    broken = "update pg_index set indisvalid = false where indexrelid = 'ehrdb.patient_embedding_1_hnsw'::regclass"
    as_superuser(same_database(server_url, database), broken)
    assert ensure_index(database, encoder)
    assert ask(
        database, "select indisvalid from pg_index where indexrelid = 'ehrdb.patient_embedding_1_hnsw'::regclass"
    )


def lower_bound(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("create or replace function ehrdb.exact_search_bound() returns integer return 5")


def test_one_poison_among_a_thousand_costs_nobody_else_a_vector(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(
            "insert into ehrdb.patient (patient_id, source, fingerprint)"
            " select p, 'test', '' from generate_series(1, 1000) p"
        )
        connection.execute(
            "insert into ehrdb.concept (code, vocabulary, description)"
            " select 'SNOMED/' || p, 'SNOMED', 'finding ' || p from generate_series(1, 1000) p"
        )
        connection.execute(
            "insert into ehrdb.event (patient_id, ordinal, time, code_id)"
            " select split_part(code, '/', 2)::bigint, 0, '2020-01-01', code_id from ehrdb.concept"
        )
        encoder = add_encoder(connection)
    result = run(database, encoder, FakeEncoder(poison="finding 500"))
    assert (result.embedded, result.failed) == (999, 1)
    assert ask(database, "select (patient_id, reason, attempts)::text from ehr.failed_embedding") == (
        "(500,NonFiniteVector,1)"
    )


def test_writers_and_a_refresh_never_wait_for_each_other(database: Database, encoder: RegisteredEncoder) -> None:
    with database.transaction() as writing:
        write(writing, [Record(3, day(28), "SNOMED/1")])
        with database.transaction() as planning:
            planning.execute("set local lock_timeout = '1s'")
            planning.execute("select ehrdb.plan_refresh()")
            writing.execute("set local lock_timeout = '1s'")
            write(writing, [Record(p, day(29), "SNOMED/2") for p in (3, 4, 5)])
    run(database, encoder)
    assert ask(database, "select (stale, unchecked, missing)::text from ehr.embedding_status") == "(0,0,0)"


def test_who_shares_a_text_with_a_patient_who_changes_or_goes_is_embedded_all_the_same(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), "SNOMED/38341003") for p in (1, 2, 3)])
        encoder = add_encoder(connection)
        connection.execute("select ehrdb.plan_refresh()")
        connection.execute("select ehrdb.purge_patients(array[1])")
    assert ask(database, "select count(*) from ehrdb.embedding_job where patient_id <> 1") == 1  # for both who are left
    run(database, encoder)
    with database.transaction() as connection:
        connection.execute("truncate ehrdb.embedding, ehrdb.embedding_job, ehrdb.patient_embedding")
        connection.execute("select ehrdb.plan_refresh()")
        write(connection, [Record(2, day(1, 7), "SNOMED/73211009")])
    Queue(database, encoder, "first").claim(10)  # patient 2 stood for the text, and no longer shows it
    run(database, encoder)
    assert ask(database, "select count(*) from ehrdb.patient_embedding") == 2


class Blind(FakeEncoder):
    """Fails on one text without saying that the text is to blame."""

    def _vectors(self, texts: list[str]) -> npt.NDArray[np.float32]:
        if any("SNOMED/40" in text for text in texts):
            raise ValueError("something")
        return super()._vectors(texts)


def test_a_text_that_fails_alone_is_blamed_if_the_encoder_works_otherwise(
    database: Database, encoder: RegisteredEncoder
) -> None:
    run(database, encoder, Blind())
    with database.transaction() as connection:
        connection.execute("update ehrdb.embedding_job set not_before = '-infinity'")
    assert run(database, encoder, Blind()).failed == 1
    assert ask(database, "select reason from ehr.failed_embedding") == "ValueError"


def test_leases_and_delays_from_before_the_clock_stepped_back_hold_no_more(
    database: Database, encoder: RegisteredEncoder
) -> None:
    with database.transaction() as connection:
        connection.execute("select ehrdb.plan_refresh()")
        connection.execute(
            "update ehrdb.embedding_job set worker = 'gone', leased_until = now() + interval '1 day',"
            " not_before = now() + interval '1 day'"
        )
    assert run(database, encoder).embedded == 10


def test_a_run_that_ends_early_says_why_by_the_kind_of_error(database: Database, encoder: RegisteredEncoder) -> None:
    with pytest.raises(RefreshError):
        run(database, encoder, BrokenEncoder())
    assert ask(database, "select last_run_error from ehr.embedding_status") == "RefreshError"


def test_status_tells_coverage_rate_and_truncation(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder, FakeEncoder(poison="SNOMED/40"))
    status = "select (round(coverage::numeric, 2), truncated, per_minute > 0, oldest_pending_age > '0 s')::text"
    assert ask(database, f"{status} from ehr.embedding_status") == "(0.90,0,t,t)"


def test_a_new_encoder_takes_over_in_one_statement(database: Database, encoder: RegisteredEncoder) -> None:
    run(database, encoder)
    with database.transaction() as connection:
        second = add_encoder(connection, "second")
    run(database, second)
    with database.transaction() as switching:
        registry.activate(switching, "second")
        assert ask(database, "select name from ehr.encoder where is_serving") == "fake"
    assert ask(database, "select name from ehr.encoder where is_serving") == "second"
    assert ask(database, "select count(*) from ehr.nearest_patients(1, 3)") == 3


def test_a_run_that_is_interrupted_tells_what_it_embedded(database: Database) -> None:
    with database.transaction() as connection:
        write_patients(connection, 12)
        encoder = add_encoder(connection)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refresh(database, encoder, FakeEncoder, progress=interrupt)
    with database.transaction() as connection:
        row = connection.execute(
            "select last_run_embedded, last_run_error, embedded, leased from ehr.embedding_status"
        ).fetchone()
    assert row == (4, "KeyboardInterrupt", 4, 0)
