"""The script for Citus, with stand-ins that refuse what Citus refuses: no Citus is here."""

from __future__ import annotations

import psycopg
import pytest

from ehrdb.bootstrap import citus_sql
from ehrdb.database import Connection, Database
from ehrdb.embedding import refresh
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write

STAND_INS = """
create schema citus;
create table citus.placed (name regclass primary key, kind text, beside regclass);

create function citus.check_table(name regclass) returns void language plpgsql as $$
declare
    fault text;
begin
    select format('%s has an integer identity', name) into fault
      from pg_attribute a where a.attrelid = name and a.attidentity <> '' and a.atttypid = 'integer'::regtype;
    if fault is null then
        select format('%s refers to %s, which is on no node yet', name, c.confrelid::regclass) into fault
          from pg_constraint c
         where c.conrelid = name and c.contype = 'f' and c.confrelid <> name
           and not exists (select from citus.placed p where p.name = c.confrelid and p.kind = 'reference');
    end if;
    if fault is not null then
        raise exception '%', fault;
    end if;
end $$;

create function citus.create_reference_table(name regclass) returns void language plpgsql as $$
begin
    perform citus.check_table(name);
    insert into citus.placed values (name, 'reference', null);
end $$;

create function citus.create_distributed_table(name regclass, key text, colocate_with text default 'default')
returns void language plpgsql as $$
declare
    fault text;
begin
    perform citus.check_table(name);
    select format('%s is unique across shards', i.indexrelid::regclass) into fault
      from pg_index i
     where i.indrelid = name and (i.indisunique or i.indisexclusion)
       and not exists (select from pg_attribute a
                        where a.attrelid = name and a.attname = key and a.attnum = any (i.indkey::smallint[]));
    if fault is null and colocate_with <> 'default'
       and not exists (select from citus.placed p
                        where p.name = colocate_with::regclass and p.kind = 'distributed') then
        fault := format('%s is to be beside what is not distributed', name);
    end if;
    if fault is null then
        select format('%s refers to %s', c.conrelid::regclass, name) into fault
          from pg_constraint c where c.confrelid = name and c.conrelid <> name;
    end if;
    if fault is not null then
        raise exception '%', fault;
    end if;
    insert into citus.placed values (name, 'distributed', nullif(colocate_with, 'default')::regclass);
end $$;

create function citus.create_distributed_function(name regprocedure, key text, colocate_with text) returns void
language plpgsql as $$
begin
    if not exists (select from pg_proc p where p.oid = name and key = any (p.proargnames)) then
        raise exception '% has no %', name, key;
    end if;
end $$;
"""


@pytest.fixture
def placed(connection: Connection) -> Connection:
    """Everything placed, with a patient and an encoder there already."""
    write(connection, [Record(1, day(1), "SNOMED/1")])
    add_encoder(connection)
    connection.execute(STAND_INS.encode())
    connection.execute("set local search_path = citus")
    connection.execute(citus_sql().encode())
    connection.execute("set local search_path = ''")
    return connection


def tables(connection: Connection, kind: str) -> set[str]:
    """Tables of ehrdb (parts of partitioned ones aside) that were placed so, or that are about patients."""
    rows = connection.execute(
        "select c.relname, coalesce(p.kind, 'local'), exists (select from pg_attribute a"
        "                                                      where a.attrelid = c.oid and a.attname = 'patient_id')"
        "  from pg_class c left join citus.placed p on p.name = c.oid"
        " where c.relnamespace = 'ehrdb'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition"
    ).fetchall()
    return {name for name, placed, is_of_patients in rows if kind in (placed, "patients" if is_of_patients else "")}


def test_whatever_is_a_patients_is_beside_the_patient(placed: Connection) -> None:
    found = tables(placed, "distributed")
    assert found == tables(placed, "patients") - {"embedding_job"}  # a content's first patient, for messages
    beside = "select distinct beside::text from citus.placed where kind = 'distributed' and beside is not null"
    assert placed.execute(beside).fetchall() == [("ehrdb.patient",)]


def test_what_stays_on_the_coordinator_is_shared_or_about_nobody(placed: Connection) -> None:
    assert tables(placed, "local") == {
        *("embedding", "embedding_job", "encoder_file", "search_request"),  # contents, models, questions
        *(
            "load_report",
            "refresh_run",
            "figure",
            "verification",
            "audit",
            "turn",
            "patient_hold",
            "plan_progress",
        ),  # books
        *("migration", "sql_file", "schema_state"),
        *("concept_frequency_change", "concept_onset_change", "purge_key", "purged_patient"),
    }


def test_numbers_go_on_where_they_were(placed: Connection) -> None:
    write(placed, [Record(2, day(1), "SNOMED/2")])
    codes = placed.execute("select code_id from ehrdb.concept where code ~ '^SNOMED/[12]$' order by code").fetchall()
    assert codes[1][0] > codes[0][0]
    assert placed.execute(
        "select count(*) from pg_attribute where attidentity <> '' and atttypid = 23"
        " and attrelid in (select name from citus.placed)"
    ).fetchone() == (0,)


def test_a_placed_database_loads_and_embeds_as_before(placed: Connection, database: Database) -> None:
    placed.commit()
    with database.transaction() as connection:
        write(connection, [Record(patient, day(2), "SNOMED/3") for patient in (3, 4)])
        encoder = add_encoder(connection, "second")
    assert refresh(database, encoder, FakeEncoder).embedded == 2  # contents


def test_a_key_across_shards_is_refused_by_the_stand_in(connection: Connection) -> None:
    connection.execute(STAND_INS.encode())
    with pytest.raises(psycopg.Error, match="unique across shards"):
        connection.execute("select citus.create_distributed_table('ehrdb.custom_text', 'description')")
    connection.rollback()
