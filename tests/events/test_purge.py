"""A purge: everything of its patients goes, and nothing of anybody else's."""

from __future__ import annotations

from psycopg import sql

from ehrdb.database import Connection, Database
from ehrdb.embedding import Queue, refresh
from ehrdb.events.purge import purge
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write

# Rows of every patient there is, in the tables that neither a record nor a refresh fills.
ROWS_OF_EVERYBODY = """
insert into ehrdb.task values ('sepsis', 'site', 'binary', '', '{}');
insert into ehrdb.label select 'sepsis', patient_id, '2020-01-01', 1 from ehrdb.patient;
insert into ehrdb.index_date select patient_id, '2020-01-01' from ehrdb.patient;
insert into ehrdb.radiology_report select patient_id, '2020-01-01', 1 from ehrdb.patient;
insert into ehrdb.source_patient select source, patient_id, sha256('') from ehrdb.patient;
insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance)
select 'sepsis', 'sepsis', encoder_id, prompt_id, '[1, 2, 3, 4, 5, 6, 7, 8]', 0, '{}' from ehrdb.encoder;
select ehrdb.store_predictions(null, null);
insert into ehrdb.risk_reason (head_id, patient_id, content_sha256, as_of, most_lines, reasons)
select head_id, patient_id, '', '2020-01-01', 1, '[]' from ehrdb.head, ehrdb.patient;
update ehrdb.event set visit_id = 'v1';
insert into ehrdb.embedding_job (encoder_id, content_sha256, prompt_id, patient_id, as_of, characters)
select encoder_id, sha256(int8send(patient_id)), prompt_id, patient_id, '2020-01-01', 0
  from ehrdb.encoder, ehrdb.patient;
"""


def rows_of(connection: Connection, patients: list[int]) -> dict[str, int]:
    """How many rows each table and view has of these patients."""
    tables = connection.execute(
        "select table_name from information_schema.columns where table_schema = 'ehrdb' and column_name = 'patient_id'"
    ).fetchall()
    question = "select from ehrdb.{} where patient_id = any (%s)"
    return {name: connection.execute(question.format(name).encode(), [patients]).rowcount for (name,) in tables}


def test_every_table_that_knows_patients_loses_them_and_keeps_the_others(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), f"SNOMED/{p}") for p in (1, 2, 3)])
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        connection.execute(ROWS_OF_EVERYBODY.encode())
        before = rows_of(connection, [2, 3])
    removed = purge(database, [1])
    assert {table: rows > 0 for table, (rows, _) in removed.items()} == dict.fromkeys(removed, True)
    assert {table: rows for table, (_, rows) in removed.items() if rows} == {}
    with database.transaction() as connection:
        assert rows_of(connection, [2, 3]) == before


def test_a_vector_stays_while_another_patient_shows_it_and_goes_with_the_last(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), "SNOMED/same") for p in (1, 2)])
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    kept = []
    for patient in (1, 2):
        purge(database, [patient])
        with database.transaction() as connection:
            kept.append(connection.execute("select from ehrdb.embedding").rowcount)
    assert kept == [1, 0]


# Of a patient with an id, words, a visit and vectors that nobody else has: what a purge must not leave anywhere.
TELLING = 987654321
WORDS, VISIT = "a telling remark", "visit-4711-of-one"
# Where the id stays on purpose: who purged whom.
KEPT = {"ehrdb.audit"}
STATISTICS = "(select * from pg_stats where tablename <> all ('{}'))"


def traces(connection: Connection, needles: list[str]) -> dict[str, list[str]]:
    """Every table of the database, the server's statistics among them, in which one of these stands, in any column."""
    tables = [
        name
        for (name,) in connection.execute(
            "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')"
        )
    ]
    # Before PostgreSQL 18 nobody can make the server forget what it knew of a table that is empty now.
    is_older = connection.info.server_version < 180_000
    empty = {
        table for table in tables if is_older and not connection.execute(f"table {table} limit 1".encode()).rowcount
    }
    excepted = ",".join(table.removeprefix("ehrdb.") for table in {*empty, *KEPT})
    found = {}
    for table in [*tables, STATISTICS]:
        place = sql.SQL(table.replace("{}", "{" + excepted + "}"))
        question = sql.SQL(
            "select n from unnest(%s::text[]) n where exists (select from {} t where strpos(t::text, n) > 0)"
        ).format(place)
        if here := [needle for (needle,) in connection.execute(question, [needles])]:
            found[table] = here
    return found


def test_nothing_is_left_of_a_patient_anywhere_even_where_a_worker_held_the_text(database: Database) -> None:
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), f"SNOMED/{n}", text=f"remark {p} {n}") for p in (1, 2) for n in range(3)])
        write(connection, [Record(TELLING, day(n), f"SNOMED/{n % 3}", text=WORDS) for n in range(1, 20)])
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        connection.execute(ROWS_OF_EVERYBODY.replace("v1", VISIT).encode())
        write(connection, [Record(TELLING, day(25), "SNOMED/9", text=WORDS)])
        connection.execute("select ehrdb.record('timeline', array[%s]::bigint[])", [TELLING])
        connection.execute("select ehrdb.plan_refresh()")
        connection.execute("analyze")
        needles = [str(TELLING), WORDS, *contents(connection)]
        known = traces(connection, needles)
        assert {"ehrdb.event", "ehrdb.embedding_job", STATISTICS} <= set(known)
        assert {needle for needles in known.values() for needle in needles} == set(needles)
    queue = Queue(database, encoder, "holds the text")
    claimed = queue.claim(100)
    assert any(WORDS in text for _, text in claimed)
    purge(database, [TELLING])
    queue.store([content for content, _ in claimed], FakeEncoder().encode([text for _, text in claimed]))
    with database.transaction() as connection:
        assert {table: what for table, what in traces(connection, needles).items() if table not in KEPT} == {}


def contents(connection: Connection) -> list[str]:
    """Digests and vectors that are this patient's alone, as text has them."""
    rows = connection.execute(
        "select encode(p.content_sha256, 'hex'), e.embedding::text from ehrdb.embedding_point p"
        "  left join ehrdb.embedding e using (encoder_id, content_sha256) where p.patient_id = %s"
        " union select encode(content_sha256, 'hex'), null from ehrdb.embedding_job where patient_id = %s",
        [TELLING, TELLING],
    )
    return [text for row in rows for text in row if text]
