create or replace function ehrdb.lock_holders(relation regclass)
returns table (pid integer, usename name, mode text, xact_start timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select a.pid, a.usename, l.mode, a.xact_start
      from pg_locks l
      join pg_stat_activity a using (pid)
     where l.relation = lock_holders.relation and l.granted and l.pid <> pg_backend_pid()
       and l.database = (select d.oid from pg_database d where d.datname = current_database());
end;

comment on function ehrdb.lock_holders(regclass) is
'Other sessions that hold a lock on this table of this database: process, user, mode, when their transaction began.';
