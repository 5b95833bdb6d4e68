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
