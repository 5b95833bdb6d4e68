-- name: lock
-- one upgrade at a time per database, until the transaction ends
select pg_advisory_xact_lock(%(key)s);

-- name: vector_extension
-- is pgvector available, in which schema is it, may this user create it
select exists (select from pg_available_extensions where name = 'vector'),
       (select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace
         where e.extname = 'vector'),
       has_database_privilege(current_database(), 'create');

-- name: create_schemas
-- the two schemas, the extension and the record of what was applied
create extension if not exists vector schema public;
create schema if not exists ehrdb;
create schema if not exists ehr;
create table if not exists ehrdb.schema_state (
    is_only_row boolean primary key default true check (is_only_row),
    sql_sha256  text not null,
    applied_at  timestamptz not null
);

-- name: read_state
-- migration revision and digest of sql/ that this database has
select (select version_num from ehrdb.migration), s.sql_sha256
  from ehrdb.schema_state s;

-- name: write_state
-- remember which sql/ was applied
insert into ehrdb.schema_state (sql_sha256, applied_at) values (%(sql_sha256)s, now())
on conflict (is_only_row) do update set sql_sha256 = excluded.sql_sha256, applied_at = excluded.applied_at;

-- name: vector_version
-- version of the installed extension
select extversion from pg_extension where extname = 'vector';
