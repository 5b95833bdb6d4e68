create or replace function ehrdb.vectors_as_of(for_encoder_id integer, patient_ids bigint[], as_of timestamp)
returns table (patient_id bigint, embedding public.halfvec)
language sql stable parallel safe
set search_path = pg_catalog, public, pg_temp
begin atomic
    select s.patient_id, s.embedding
      from ehrdb.patient_embedding s
     where s.encoder_id = for_encoder_id and s.patient_id = any (patient_ids) and vectors_as_of.as_of = 'infinity'
    union all
    (select distinct on (p.patient_id) p.patient_id, e.embedding
       from ehrdb.embedding_point p
       join ehrdb.encoder n on n.encoder_id = p.encoder_id and n.prompt_id = p.prompt_id
       join ehrdb.embedding e on e.encoder_id = p.encoder_id and e.content_sha256 = p.content_sha256
      where p.encoder_id = for_encoder_id and p.patient_id = any (patient_ids)
        and vectors_as_of.as_of < 'infinity' and p.as_of <= vectors_as_of.as_of
      order by p.patient_id, p.as_of desc);
end;

comment on function ehrdb.vectors_as_of(integer, bigint[], timestamp) is
'The newest vector of each patient at or before as_of, under the encoder''s neutral prompt.';
