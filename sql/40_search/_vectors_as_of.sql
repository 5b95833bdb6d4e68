create or replace function ehrdb.vectors_as_of(for_encoder_id integer, patient_ids bigint[], as_of timestamp)
returns table (patient_id bigint, embedding public.halfvec)
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select s.patient_id, s.embedding
      from ehrdb.patient_embedding s
     where s.encoder_id = for_encoder_id and s.patient_id in (select c from unnest(patient_ids) c)
       and vectors_as_of.as_of = 'infinity'
    union all
    select v.patient_id, v.embedding
      from ehrdb.encoder n, ehrdb.vectors_of(patient_ids, for_encoder_id, n.prompt_id, vectors_as_of.as_of) v
     where n.encoder_id = for_encoder_id and patient_ids is not null and vectors_as_of.as_of < 'infinity' and v.reason is null;
end;

comment on function ehrdb.vectors_as_of(integer, bigint[], timestamp) is
'The vector of each patient''s record as of a moment (infinity: the newest), under the encoder''s neutral prompt; patients
without one have no row.';
