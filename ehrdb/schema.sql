-- name: lock
-- one upgrade at a time per database, until the transaction ends: the first by a key that anybody could take,
select case when to_regclass('ehrdb.schema_state') is null then pg_advisory_xact_lock(%(key)s) end;

-- name: lock_state
-- later ones by a table that readers cannot lock so
do $$
begin
    if to_regclass('ehrdb.schema_state') is not null then
        lock table ehrdb.schema_state in share row exclusive mode;
    end if;
end
$$;

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
    version     text not null,
    sql_sha256  text not null,
    objects     jsonb not null,
    applied_at  timestamptz not null,
    roles       text not null default 'ehr'
);
do $$
begin  -- readers read this column, and wait for it once, not at every upgrade
    if not exists (select from pg_attribute where attrelid = 'ehrdb.schema_state'::regclass and attname = 'notes_functions') then
        alter table ehrdb.schema_state add column notes_functions boolean not null default false;
    end if;
end
$$;
create table if not exists ehrdb.sql_file (
    name    text primary key,
    sha256  text not null,
    objects text[] not null
);

-- name: choose_roles
-- what the roles' names begin with, for this transaction's grants
select set_config('ehrdb.roles', coalesce(%(roles)s, (select roles from ehrdb.schema_state), 'ehr'), true);

-- name: keep_roles
-- and for those to come
update ehrdb.schema_state set roles = current_setting('ehrdb.roles') where roles <> current_setting('ehrdb.roles');

-- name: read_state
-- migration revision, program version and digest of sql/ that this database has (a version since the first release)
select (select version_num from ehrdb.migration), to_jsonb(s) ->> 'version', s.sql_sha256
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
-- remember which sql/ was applied, and by which version
insert into ehrdb.schema_state (version, sql_sha256, objects, applied_at)
values (%(version)s, %(sql_sha256)s, %(objects)s, now())
on conflict (is_only_row) do update
   set version = excluded.version, sql_sha256 = excluded.sql_sha256, objects = excluded.objects,
       applied_at = excluded.applied_at;

-- name: kept_files
-- what was applied, and what it created
select name, sha256, objects from ehrdb.sql_file;

-- name: keep_file
-- a file was applied
insert into ehrdb.sql_file (name, sha256, objects) values (%(name)s, %(sha256)s, %(objects)s)
on conflict (name) do update set sha256 = excluded.sha256, objects = excluded.objects;

-- name: drop_file
-- a file is gone
delete from ehrdb.sql_file where name = %(name)s;

-- name: object_versions
-- views, functions and triggers, and where their definition lies: a new one lies elsewhere
select 'pg_proc'::regclass::oid, p.oid, p.ctid::text from pg_proc p
 where p.pronamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)
 union all
select 'pg_class'::regclass, c.oid, r.ctid::text from pg_class c join pg_rewrite r on r.ev_class = c.oid
 where c.relnamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace) and c.relkind = 'v'
 union all
select 'pg_trigger'::regclass, t.oid, t.ctid::text from pg_trigger t join pg_class c on c.oid = t.tgrelid
 where c.relnamespace = 'ehrdb'::regnamespace and not t.tgisinternal and t.tgparentid = 0;

-- name: object_names
-- of objects: as `drop` names them
select i.type || ' ' || i.identity
  from unnest(%(classids)s::oid[], %(oids)s::oid[]) o (classid, oid)
 cross join lateral pg_identify_object(o.classid, o.oid, 0) i;

-- name: dependants
-- all that needs an object, directly or not: in words, and as object_names has it
with recursive object (classid, oid) as (
    select 'pg_proc'::regclass, p.oid from pg_proc p
     where p.pronamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)
    union all
    select 'pg_class'::regclass, c.oid from pg_class c
     where c.relnamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace) and c.relkind = 'v'
    union all
    select 'pg_trigger'::regclass, t.oid from pg_trigger t join pg_class c on c.oid = t.tgrelid
     where c.relnamespace = 'ehrdb'::regnamespace and not t.tgisinternal
), dependant (classid, oid) as (
    select o.classid, o.oid
      from object o cross join lateral pg_identify_object(o.classid, o.oid, 0) i
     where i.type || ' ' || i.identity = %(object)s
    union
    select case when r.oid is null then d.classid else 'pg_class'::regclass end, coalesce(r.ev_class, d.objid)
      from dependant n
      join pg_depend d on d.refclassid = n.classid and d.refobjid = n.oid
      left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
)
select pg_describe_object(d.classid, d.oid, 0), i.type || ' ' || i.identity
  from dependant d
 cross join lateral pg_identify_object(d.classid, d.oid, 0) i
 where i.type || ' ' || i.identity <> %(object)s and i.schema is distinct from 'pg_toast'
   and not exists (select from pg_type t
                    where d.classid = 'pg_type'::regclass and t.oid = d.oid and (t.typtype = 'c' or t.typcategory = 'A'))
 order by 1;

-- name: hurried
-- whoever waits for a lock longer gives up: all others would queue behind
set local lock_timeout = '1s';

-- name: holders
-- sessions that hold what an upgrade may need, the oldest first
select distinct on (a.xact_start, a.pid) a.pid, a.usename::text, a.xact_start
  from pg_locks l
  join pg_stat_activity a using (pid)
 where l.granted and a.pid <> pg_backend_pid() and a.usename is not null and a.datname = current_database()
   and (l.relation in (select c.oid from pg_class c
                        where c.relnamespace in (to_regnamespace('ehr'), to_regnamespace('ehrdb')))
        or l.locktype = 'advisory' and (l.classid::bigint << 32 | l.objid::bigint) = %(key)s)
 order by a.xact_start, a.pid
 limit 3;
