create or replace function ehrdb.wait_to_plan() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set lock_timeout = '5min'
as $$
begin
    -- A table's lock, not an advisory one: only who may write can take it, and so keep others waiting.
    lock table ehrdb.turn in share update exclusive mode;
exception when lock_not_available then
    raise exception using errcode = 'EH012',
        message = 'another session has been planning for more than five minutes',
        hint = format('Wait, or end it: %s', (
            select string_agg(format('select pg_terminate_backend(%s); -- %s', a.pid, a.usename), ' ' order by a.pid)
              from pg_locks l
              join pg_stat_activity a using (pid)
             where l.relation = 'ehrdb.turn'::regclass and l.granted and l.mode = 'ShareUpdateExclusiveLock'
               and l.database = (select d.oid from pg_database d where d.datname = current_database())));
end
$$;

comment on function ehrdb.wait_to_plan() is
'Waits until no refresh plans and no purge runs, and keeps others from it until the transaction ends. EH012 after five
minutes names who holds it.';
