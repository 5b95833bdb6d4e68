"""`ehrdb upgrade`: upgraded = fresh, repeatable, and kind to users' own objects."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg.sql import Identifier

from ehrdb.database import Connection, Database
from ehrdb.errors import SchemaOutdated
from ehrdb.schema import require_current, upgrade


def test_upgrade_again_changes_nothing(database: Database) -> None:
    assert upgrade(database) is False


def test_a_database_without_the_schema_says_what_to_run(empty_database: Database) -> None:
    with (
        empty_database.transaction() as connection,
        pytest.raises(SchemaOutdated) as caught,
    ):
        require_current(connection)
    assert caught.value.hint == "Run `ehrdb upgrade`."


def test_a_users_view_survives_reapplying_all_sql(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("create view public.mine as select patient_id from ehr.patient")
    assert upgrade(database, force=True) is True
    with database.transaction() as connection:
        assert connection.execute("select count(*) from public.mine").fetchone() == (0,)


def test_reapplied_is_the_same_as_fresh(database: Database, empty_database: Database) -> None:
    upgrade(database, force=True)
    upgrade(empty_database)
    assert definitions(database) == definitions(empty_database)


def test_a_failing_file_leaves_nothing_behind(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: Connection, paths: list[Path], schema: Identifier, *, force: bool) -> None:
        connection.execute("select 1 / 0")

    monkeypatch.setattr("ehrdb.schema.bring_in_line", broken)
    with pytest.raises(psycopg.errors.DivisionByZero):
        upgrade(empty_database)
    with empty_database.transaction() as connection:
        row = connection.execute("select count(*) from pg_namespace where nspname in ('ehr', 'ehrdb')").fetchone()
    assert row == (0,)


def test_every_public_object_is_documented_with_an_example(database: Database) -> None:
    with database.transaction() as connection:
        rows = connection.execute(
            "select oid::regprocedure::text, obj_description(oid, 'pg_proc') from pg_proc"
            " where pronamespace = 'ehr'::regnamespace"
            " union all select oid::regclass::text, obj_description(oid, 'pg_class') from pg_class"
            " where relnamespace = 'ehr'::regnamespace and relkind = 'v'"
        ).fetchall()
    undocumented = [name for name, comment in rows if "Example: " not in (comment or "")]
    assert len(rows) > 20
    assert undocumented == []


def test_every_view_obeys_the_rights_of_who_asks(database: Database) -> None:
    with database.transaction() as connection:
        rows = connection.execute(
            "select oid::regclass::text from pg_class where relkind = 'v'"
            " and relnamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)"
            " and not coalesce(reloptions @> array['security_invoker=true'], false)"
        ).fetchall()
    assert rows == []


def definitions(database: Database, *, with_rights: bool = True) -> list[tuple[str, str, str]]:
    """Columns, indexes, constraints, triggers, functions, views, comments and rights, as the catalogue words them."""
    rights = "" if with_rights else "where kind <> 'rights'"
    with database.transaction() as connection:
        return connection.execute(f"select * from ({CATALOGUE}) found {rights} order by 1, 2, 3".encode()).fetchall()  # noqa: S608


CATALOGUE = """
select 'column' as kind, attrelid::regclass::text || '.' || attname as name,
       concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attstorage,
                 attcollation::regcollation, pg_get_expr(adbin, adrelid)) as definition
  from pg_attribute a
  join pg_class c on c.oid = attrelid
  left join pg_attrdef d on adrelid = attrelid and adnum = attnum
 where relnamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace) and attnum > 0 and not attisdropped
   and relkind in ('r', 'p', 'v')
union all
select 'index', indexname, indexdef from pg_indexes where schemaname = 'ehrdb'
union all
select 'constraint', conrelid::regclass::text || '.' || conname, pg_get_constraintdef(oid)
  from pg_constraint where connamespace = 'ehrdb'::regnamespace
union all
select 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
union all
select 'function', oid::regprocedure::text, pg_get_functiondef(oid)
  from pg_proc where pronamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)
union all
select 'view', oid::regclass::text, pg_get_viewdef(oid) || coalesce(reloptions::text, '')
  from pg_class where relnamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace) and relkind = 'v'
union all
select 'rights', oid::regprocedure::text,
       array(select a::text from unnest(coalesce(proacl, acldefault('f', proowner))) a order by 1)::text
  from pg_proc where pronamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)
union all
select 'rights', oid::regclass::text,
       array(select a::text from unnest(coalesce(relacl, acldefault('r', relowner))) a order by 1)::text
  from pg_class where relnamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace) and relkind in ('r', 'p', 'v')
union all
select 'comment', d.classoid::regclass || coalesce(p.oid::regprocedure::text, c.oid::regclass::text), d.description
  from pg_description d
  left join pg_proc p on p.oid = d.objoid and p.pronamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)
  left join pg_class c on c.oid = d.objoid and c.relnamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)
 where coalesce(p.oid, c.oid) is not null
"""
