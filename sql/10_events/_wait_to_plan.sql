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
            select string_agg(format('select pg_terminate_backend(%s); -- %s', h.pid, h.usename), ' ' order by h.pid)
              from ehrdb.lock_holders('ehrdb.turn') h
             where h.mode = 'ShareUpdateExclusiveLock'));
end
$$;

comment on function ehrdb.wait_to_plan() is
'Waits until no refresh plans and no purge runs, and keeps others from it until the transaction ends. EH012 after five
minutes names who holds it.';
