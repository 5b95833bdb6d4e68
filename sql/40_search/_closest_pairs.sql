create or replace function ehrdb.closest_pairs(
    for_encoder_id integer, case_ids bigint[], case_as_ofs timestamp[], control_ids bigint[], control_as_ofs timestamp[],
    depth integer, caliper float8, same_sex boolean, age_band integer
) returns table (case_place integer, control_place integer, similarity float8)
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with control as materialized (
        select v.place, v.patient_id, v.embedding, t.traits
          from ehrdb.paired_vectors(for_encoder_id, control_ids, control_as_ofs) v
          join ehrdb.matching_traits(control_ids, control_as_ofs, same_sex, age_band) t using (place)
         where v.reason is null
    )
    select a.place, b.place, 1 - b.distance
      from ehrdb.paired_vectors(for_encoder_id, case_ids, case_as_ofs) a
      join ehrdb.matching_traits(case_ids, case_as_ofs, same_sex, age_band) t using (place)
     cross join lateral (
        select c.place, c.embedding operator(public.<=>) a.embedding as distance
          from control c
         where c.traits = t.traits and (caliper is null or c.embedding operator(public.<=>) a.embedding <= caliper)
         order by 2, c.patient_id, 1
         limit depth) b
     where a.reason is null;
end;

comment on function ehrdb.closest_pairs(integer, bigint[], timestamp[], bigint[], timestamp[], integer, float8, boolean, integer) is
'For each case its closest controls with the same traits, at most depth; both as places in their lists.';
