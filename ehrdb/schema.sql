-- name: lock
-- one upgrade at a time per database, until the transaction ends
select pg_advisory_xact_lock(%(key)s);

-- name: create_schemas
-- the two schemas and the record of what was applied
do $$
begin  -- a DBA may have made them for an owner who may not make schemas: `if not exists` would ask for that right first
    if to_regnamespace('ehrdb') is null then create schema ehrdb; end if;
    if to_regnamespace('ehr') is null then create schema ehr; end if;
end
$$;
create table if not exists ehrdb.schema_state (
    is_only_row boolean primary key default true check (is_only_row),
    sql_sha256  text not null,
    applied_at  timestamptz not null
);
alter table ehrdb.schema_state add column if not exists objects jsonb not null default '{}';
alter table ehrdb.schema_state add column if not exists roles text not null default 'ehr';

-- name: choose_roles
-- what the roles' names begin with, for this transaction's grants
select set_config('ehrdb.roles', coalesce(%(roles)s, (select roles from ehrdb.schema_state), 'ehr'), true);

-- name: keep_roles
-- and for those to come
update ehrdb.schema_state set roles = current_setting('ehrdb.roles') where roles <> current_setting('ehrdb.roles');

-- name: read_state
-- migration revision and digest of sql/ that this database has
select (select version_num from ehrdb.migration), s.sql_sha256
  from ehrdb.schema_state s;

-- name: objects
-- tables, indexes, views, functions and triggers of the two schemas, each with a digest of its definition
with ours as (select oid from pg_namespace where nspname in ('ehr', 'ehrdb')), object (name, definition) as (
    select case prokind when 'p' then 'procedure ' else 'function ' end || oid::regprocedure, pg_get_functiondef(oid)
      from pg_proc where pronamespace in (select oid from ours) and prokind in ('f', 'p')
    union all
    select 'view ' || oid::regclass, pg_get_viewdef(oid)
      from pg_class where relnamespace in (select oid from ours) and relkind = 'v'
    union all
    select 'table ' || c.oid::regclass,
           string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull), ',' order by attname)
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where c.relnamespace in (select oid from ours) and c.relkind in ('r', 'p') and not c.relispartition
     group by c.oid
    union all
    select 'index ' || i.indexrelid::regclass, pg_get_indexdef(i.indexrelid)
      from pg_index i join pg_class t on t.oid = i.indrelid
     where t.relnamespace in (select oid from ours) and t.relkind in ('r', 'p') and not t.relispartition
    union all
    select 'trigger ' || quote_ident(g.tgname) || ' on ' || g.tgrelid::regclass, pg_get_triggerdef(g.oid)
      from pg_trigger g join pg_class t on t.oid = g.tgrelid
     where t.relnamespace in (select oid from ours) and not g.tgisinternal and not t.relispartition
)
select coalesce(jsonb_object_agg(name, left(encode(sha256(convert_to(definition, 'UTF8')), 'hex'), 16)), '{}') from object;

-- name: applied_objects
-- the same, as the last upgrade left them
select objects from ehrdb.schema_state;

-- name: write_state
-- remember which sql/ was applied
insert into ehrdb.schema_state (sql_sha256, applied_at, objects, roles)
values (%(sql_sha256)s, now(), %(objects)s, current_setting('ehrdb.roles'))
on conflict (is_only_row) do update
   set sql_sha256 = excluded.sql_sha256, applied_at = excluded.applied_at, objects = excluded.objects,
       roles = excluded.roles;
