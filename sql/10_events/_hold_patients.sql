create or replace function ehrdb.hold_patients() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    -- Any number of writers may; ehrdb.wait_to_purge asks for more.
    lock table ehrdb.patient_hold in row exclusive mode;
end
$$;

comment on function ehrdb.hold_patients() is
'Keeps purges from beginning until this transaction ends: for whoever writes about patients what he has read before.';
