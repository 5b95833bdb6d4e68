create or replace function ehrdb.count_concepts() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    changed integer[];
begin
    with taken as (
        delete from ehrdb.concept_frequency_change returning code_id, patients
    ), counted as (
        insert into ehrdb.concept_frequency as f (code_id, patients, is_clinical)
        select t.code_id, sum(t.patients), exists (select from ehrdb.clinical_concept c where c.code_id = t.code_id)
          from taken t
         group by t.code_id
        having sum(t.patients) <> 0
         order by t.code_id
            on conflict (code_id) do update set patients = f.patients + excluded.patients
        returning f.code_id, f.patients
    )
    select array_agg(c.code_id) into changed from counted c where c.patients <= 0;
    delete from ehrdb.concept_frequency f where f.code_id = any (changed);
    perform ehrdb.count_onsets();
end
$$;

comment on function ehrdb.count_concepts() is
'Adds what has changed to the counts of patients in whom each concept occurs, now and by past months.';
