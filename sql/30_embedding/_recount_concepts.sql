create or replace function ehrdb.recount_concepts() returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    wrong bigint;
begin
    -- One statement, so one view of the data: what it sees it counts, and takes out of what is still to be added.
    with taken as (
        delete from ehrdb.concept_frequency_change returning code_id, patients
    ), kept as (
        select f.code_id, sum(f.patients) as patients
          from (select code_id, patients from ehrdb.concept_frequency union all select code_id, patients from taken) f
         group by f.code_id
        having sum(f.patients) <> 0
    ), counted as materialized (
        select e.code_id, count(*) as patients from ehrdb.event e where e.valid_to = 'infinity' group by e.code_id
    ), gone as (
        delete from ehrdb.concept_frequency f
         where not exists (select from counted c where c.code_id = f.code_id)
    ), written as (
        insert into ehrdb.concept_frequency as f (code_id, patients, is_clinical)
        select c.code_id, c.patients, exists (select from ehrdb.clinical_concept k where k.code_id = c.code_id)
          from counted c
            on conflict (code_id) do update set patients = excluded.patients, is_clinical = excluded.is_clinical
         where (f.patients, f.is_clinical) <> (excluded.patients, excluded.is_clinical)
    )
    select count(*) into wrong
      from kept k full join counted c using (code_id)
     where k.patients is distinct from c.patients;
    return wrong;
end
$$;

comment on function ehrdb.recount_concepts() is
'Counts anew, from all events, in how many patients each concept occurs; returns how many counts were wrong.';
