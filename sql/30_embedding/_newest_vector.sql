create or replace function ehrdb.newest_vector(for_encoder_id integer, for_prompt_id integer, moment timestamp)
returns table (patient_id bigint, as_of timestamp, embedding public.halfvec)
language sql stable parallel safe
begin atomic
    -- Inlined into the query that calls it, whose conditions on patient_id then go down to the index. No pinned
    -- search_path, which would prevent that.
    select distinct on (p.patient_id) p.patient_id, p.as_of, e.embedding
      from ehrdb.embedding_point p
      join ehrdb.embedding e on e.encoder_id = p.encoder_id and e.content_sha256 = p.content_sha256
     where p.encoder_id = for_encoder_id and p.prompt_id = for_prompt_id and p.as_of <= moment
     order by p.patient_id, p.as_of desc;
end;

comment on function ehrdb.newest_vector(integer, integer, timestamp) is
'Each patient''s newest vector at or before a moment, under one prompt: nothing after the moment is looked at.';
