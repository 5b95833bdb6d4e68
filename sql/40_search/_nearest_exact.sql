create or replace function ehrdb.nearest_exact(
    for_encoder_id integer, query public.halfvec, k integer, cohort bigint[], excluded bigint
) returns bigint[]
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan  -- a cohort of ten and one of half of everybody are not read alike
as $$
begin
    if cohort is null then
        return array(
            select s.patient_id
              from ehrdb.patient_embedding s
             where s.encoder_id = for_encoder_id and s.patient_id is distinct from excluded
             order by s.embedding operator(public.<=>) query, s.patient_id
             limit k);
    end if;
    -- As a set: `= any (cohort)` may compare every row with every member.
    return array(
        select s.patient_id
          from ehrdb.patient_embedding s
         where s.encoder_id = for_encoder_id and s.patient_id in (select c from unnest(cohort) c)
           and s.patient_id is distinct from excluded
         order by s.embedding operator(public.<=>) query, s.patient_id
         limit k);
end
$$;

comment on function ehrdb.nearest_exact(integer, public.halfvec, integer, bigint[], bigint) is
'Compares every member of the cohort; complete by construction.';
