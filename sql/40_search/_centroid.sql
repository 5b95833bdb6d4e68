create or replace function ehrdb.centroid(for_encoder_id integer, cohort bigint[]) returns public.vector
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select public.l2_normalize(public.avg(public.l2_normalize(s.embedding::public.vector)))
      from (select e.embedding from ehrdb.patient_embedding e where e.encoder_id = for_encoder_id and cohort is null
            union all
            select e.embedding
              from ehrdb.patient_embedding e
             where e.encoder_id = for_encoder_id and e.patient_id in (select c from unnest(cohort) c)) s;
end;

comment on function ehrdb.centroid(integer, bigint[]) is
'Mean direction of the current vectors of a cohort (null: everybody); null where it has none.';
