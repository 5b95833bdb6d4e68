create or replace function ehrdb.take_marks(most integer) returns bigint[]
language sql
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    -- A mark that comes meanwhile is not seen, and stays.
    with taken as (
        delete from ehrdb.changed_patient
         where patient_id in (select distinct m.patient_id from ehrdb.changed_patient m order by m.patient_id limit most)
        returning patient_id
    )
    select coalesce(array_agg(distinct t.patient_id), '{}') from taken t;
end;

comment on function ehrdb.take_marks(integer) is
'Takes the marks of so many changed patients away, and returns whose they were.';
