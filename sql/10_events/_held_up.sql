create or replace function ehrdb.held_up() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'EH012', message = 'other sessions hold tables of ehrdb: nothing was changed',
        hint = 'Try again when they have finished: select pid, usename, xact_start from pg_stat_activity order by xact_start;';
end
$$;

comment on function ehrdb.held_up() is 'EH012: for who would have to wait for readers, with everybody else behind.';
