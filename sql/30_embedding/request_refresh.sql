create or replace function ehr.request_refresh(cohort bigint[] default null) returns bigint
language sql
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    with marked as (
        insert into ehrdb.changed_patient (patient_id)
        select p.patient_id from ehrdb.patient p where cohort is null or p.patient_id = any (cohort)
        returning 1
    ), told as (select pg_notify('ehrdb_refresh', ''))
    select count(*) from marked, told;
end;

comment on function ehr.request_refresh(bigint[]) is
'Asks for these patients (null: everybody) to be embedded again where their text changed.
Wakes running workers. Returns how many patients were marked.
Example: select ehr.request_refresh(array[1, 2]);';
