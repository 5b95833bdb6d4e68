create or replace function ehrdb.require_time(deadline timestamptz) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if clock_timestamp() > deadline then
        raise exception using errcode = 'EH008', message = 'no worker answered in time',
            hint = 'See the worker''s log; one that is only slow needs longer: patience => ''2 minutes''.';
    end if;
    perform pg_sleep(0.002);
    return true;
end
$$;

comment on function ehrdb.require_time(timestamptz) is 'True, after two milliseconds; EH008 after the deadline.';
