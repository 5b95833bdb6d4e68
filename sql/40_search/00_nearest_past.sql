create or replace function ehrdb.nearest_past(
    for_encoder_id integer, query public.halfvec, k integer, cohort bigint[], as_of timestamp, excluded bigint
) returns setof ehrdb.neighbour
language sql stable parallel safe
set search_path = pg_catalog, public, pg_temp
begin atomic
    with candidate as (
        select distinct on (p.patient_id) p.patient_id, p.as_of as point_as_of, e.embedding <=> query as distance
          from ehrdb.embedding_point p
          join ehrdb.encoder n on n.encoder_id = p.encoder_id and n.prompt_id = p.prompt_id
          join ehrdb.embedding e on e.encoder_id = p.encoder_id and e.content_sha256 = p.content_sha256
         where p.encoder_id = for_encoder_id
           and p.as_of <= nearest_past.as_of
           and (cohort is null or p.patient_id = any (cohort))
           and p.patient_id is distinct from excluded
         order by p.patient_id, p.as_of desc
    )
    select row_number() over (order by c.distance, c.patient_id)::integer, c.patient_id, 1 - c.distance, c.point_as_of,
           exists (select from ehrdb.event v
                    where v.patient_id = c.patient_id and v.time > c.point_as_of and v.time <= nearest_past.as_of)
      from candidate c
     order by c.distance, c.patient_id
     limit k;
end;

comment on function ehrdb.nearest_past(integer, public.halfvec, integer, bigint[], timestamp, bigint) is
'The same among each patient''s newest vector at or before as_of: nobody''s later record is looked at.';
