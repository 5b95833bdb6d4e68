create or replace function ehrdb.count_concepts() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    lock table ehrdb.concept_frequency in share row exclusive mode;
    delete from ehrdb.concept_frequency;
    insert into ehrdb.concept_frequency (code_id, patients, is_clinical)
    select n.code_id, n.patients, c.code_id is not null
      from (select pair.code_id, count(*) as patients
              from (select distinct e.patient_id, e.code_id from ehrdb.event e) pair
             group by pair.code_id) n
      left join ehrdb.clinical_concept c using (code_id);
end
$$;

comment on function ehrdb.count_concepts() is
'Counts anew in how many patients each concept occurs.';
