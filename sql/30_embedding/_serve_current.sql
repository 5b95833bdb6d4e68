create or replace function ehrdb.serve_current(for_encoder_id integer, contents bytea[]) returns void
language sql
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    insert into ehrdb.patient_embedding as served (encoder_id, patient_id, as_of, content_sha256, embedding)
    select p.encoder_id, p.patient_id, p.as_of, e.content_sha256, e.embedding
      from ehrdb.embedding_point p
      join ehrdb.encoder n on n.encoder_id = p.encoder_id and n.prompt_id = p.prompt_id
      join ehrdb.embedding e on e.encoder_id = p.encoder_id and e.content_sha256 = p.content_sha256
     where p.encoder_id = for_encoder_id
       and p.content_sha256 = any (contents)
       and p.is_current
       and not (n.embeds_empty and public.l2_norm(e.embedding) = 0)  -- zeros, of no text, are near to nobody
     order by p.patient_id  -- whoever does this at once does it in the same order
        on conflict (encoder_id, patient_id) do update
       set as_of = excluded.as_of, content_sha256 = excluded.content_sha256, embedding = excluded.embedding
     where (served.as_of, served.content_sha256) is distinct from (excluded.as_of, excluded.content_sha256);
end;

comment on function ehrdb.serve_current(integer, bytea[]) is
'Copies vectors of these contents to where search reads them, for patients whose current text they are.';
