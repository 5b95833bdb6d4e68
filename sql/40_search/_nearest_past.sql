create or replace function ehrdb.nearest_past(
    for_encoder_id integer, query public.halfvec, k integer, cohort bigint[], as_of timestamp, excluded bigint
) returns setof ehrdb.neighbour
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with closest as (
        select v.patient_id, v.as_of, v.embedding operator(public.<=>) query as distance
          from ehrdb.encoder n, ehrdb.newest_vector_of(cohort, for_encoder_id, n.prompt_id, nearest_past.as_of) v
         where n.encoder_id = for_encoder_id
           and v.patient_id is distinct from excluded
         order by distance, v.patient_id
         limit k
    )
    select row_number() over (order by c.distance, c.patient_id)::integer, c.patient_id, 1 - c.distance, c.as_of, g.is_stale
      from closest c, ehrdb.record_goes_on(c.patient_id, c.as_of, nearest_past.as_of) g
     order by c.distance, c.patient_id;
end;

comment on function ehrdb.nearest_past(integer, public.halfvec, integer, bigint[], timestamp, bigint) is
'The same among each patient''s newest vector at or before as_of: nobody''s later record is looked at.';
