create or replace function ehrdb.nearest_past(
    for_encoder_id integer, query public.halfvec, k integer, cohort bigint[], as_of timestamp, excluded bigint
) returns setof ehrdb.neighbour
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with closest as (
        select v.patient_id, v.as_of, v.is_stale, v.embedding operator(public.<=>) query as distance
          from ehrdb.encoder n, ehrdb.vectors_of(cohort, for_encoder_id, n.prompt_id, nearest_past.as_of) v
         where n.encoder_id = for_encoder_id
           and v.reason is null and v.patient_id is distinct from excluded
         order by distance, v.patient_id
         limit k
    )
    select row_number() over (order by c.distance, c.patient_id)::integer, c.patient_id, 1 - c.distance, c.as_of, c.is_stale
      from closest c
     order by c.distance, c.patient_id;
end;

comment on function ehrdb.nearest_past(integer, public.halfvec, integer, bigint[], timestamp, bigint) is
'The same among the vectors of records as of a past moment: nobody''s later record is looked at.';
