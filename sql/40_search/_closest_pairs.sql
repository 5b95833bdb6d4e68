create or replace function ehrdb.closest_pairs(
    for_encoder_id integer, cases bigint[], controls bigint[], depth integer, caliper float8,
    same_sex boolean, age_band integer, as_of timestamp
) returns table (case_id bigint, control_id bigint, similarity float8)
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with vector_of as materialized (
        select v.patient_id, v.embedding, t.traits, v.patient_id in (select c from unnest(cases) c) as is_case,
               v.patient_id in (select c from unnest(controls) c) as is_control
          from ehrdb.vectors_as_of(for_encoder_id, cases || controls, closest_pairs.as_of) v
          join ehrdb.matching_traits(cases || controls, closest_pairs.as_of, same_sex, age_band) t using (patient_id)
    )
    select a.patient_id, b.patient_id, 1 - b.distance
      from vector_of a
     cross join lateral (
        select c.patient_id, c.embedding operator(public.<=>) a.embedding as distance
          from vector_of c
         where c.is_control and c.traits = a.traits
           and (caliper is null or c.embedding operator(public.<=>) a.embedding <= caliper)
         order by 2, 1
         limit depth) b
     where a.is_case;
end;

comment on function ehrdb.closest_pairs(integer, bigint[], bigint[], integer, float8, boolean, integer, timestamp) is
'For each case its closest controls with the same traits, at most depth.';
