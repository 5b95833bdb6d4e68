create or replace function ehrdb.nearest_exact(
    for_encoder_id integer, query public.halfvec, k integer, cohort bigint[], excluded bigint
) returns bigint[]
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select array_agg(hit.patient_id)
      from (select s.patient_id
              from ehrdb.patient_embedding s
             where s.encoder_id = for_encoder_id
               and (cohort is null or s.patient_id = any (cohort))
               and s.patient_id is distinct from excluded
             order by s.embedding operator(public.<=>) query, s.patient_id
             limit k) hit;
end;

comment on function ehrdb.nearest_exact(integer, public.halfvec, integer, bigint[], bigint) is
'Compares every member of the cohort; complete by construction.';
