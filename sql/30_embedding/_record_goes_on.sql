create or replace function ehrdb.record_goes_on(for_patient_id bigint, after timestamp, until timestamp)
returns table (is_stale boolean)
language sql stable parallel safe rows 1
begin atomic
    -- A row, not a value, and no pinned search_path: so that it is inlined into the query that calls it.
    select exists (select from ehrdb.event v
                    where v.patient_id = for_patient_id and v.time > after and v.time <= until);
end;

comment on function ehrdb.record_goes_on(bigint, timestamp, timestamp) is
'Whether a patient has events after one moment, up to another (inclusive): what makes a vector of the first stale at the
second. One row.';
