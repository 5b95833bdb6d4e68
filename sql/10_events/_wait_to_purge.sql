create or replace function ehrdb.wait_to_purge() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    patience constant interval := '10 seconds';
    deadline constant timestamptz := clock_timestamp() + patience;
begin
    perform ehrdb.wait_to_plan();
    loop
        begin
            -- Never waiting for it: a load that has it waits for the turn to plan, which is held here.
            lock table ehrdb.patient_hold in share row exclusive mode nowait;
            return;
        exception when lock_not_available then
            if clock_timestamp() > deadline then
                raise exception using errcode = 'EH012',
                    message = 'patients are being written about: a load, labels or predictions would outlive the purge',
                    hint = format('Purge when it has finished: %s', (
                        select string_agg(format('process %s of %s', h.pid, h.usename), ', ' order by h.pid)
                          from ehrdb.lock_holders('ehrdb.patient_hold') h
                         where h.mode not in ('AccessShareLock', 'RowShareLock')));
            end if;
            perform pg_sleep(0.05);
        end;
    end loop;
end
$$;

comment on function ehrdb.wait_to_purge() is
'Waits until nobody plans, loads, labels or predicts, and keeps others from it until the transaction ends: what they have read
of a patient would be written after the patient is gone. EH012 after ten seconds names who is at work.';
