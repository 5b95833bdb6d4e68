create or replace function ehr.request_refresh(cohort bigint[] default null) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    marked bigint;
begin
    perform ehrdb.require_primary();
    insert into ehrdb.changed_patient (patient_id)
    select p.patient_id from ehrdb.patient p where cohort is null or p.patient_id in (select c from unnest(cohort) c);
    get diagnostics marked = row_count;
    perform pg_notify('ehrdb_refresh', '');
    return marked;
end
$$;

comment on function ehr.request_refresh(bigint[]) is
'Asks for these patients (null: everybody) to be embedded again where their text changed.
Wakes running workers. Returns how many patients were marked.
Example: select ehr.request_refresh(array[1, 2]);';
