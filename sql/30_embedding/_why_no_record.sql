create or replace function ehrdb.why_no_record(for_patient_id bigint, moment timestamp) returns text
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select case
        when not exists (select from ehrdb.patient p where p.patient_id = for_patient_id) then 'unknown patient'
        when not exists (select from ehrdb.event e where e.patient_id = for_patient_id and e.time <= moment)
            then 'no record by then' end;
end;

comment on function ehrdb.why_no_record(bigint, timestamp) is
'In words, why there is nothing of a patient as of a moment: unknown patient, no record by then; null where there is.';
