create or replace function ehrdb.import_vectors(for_encoder_id integer) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    changed integer;
begin
    create temp table hashed on commit drop as
    select v.patient_id, v.as_of, v.embedding, sha256(public.halfvec_send(v.embedding)) as content_sha256
      from pg_temp.imported v;

    insert into ehrdb.embedding (encoder_id, content_sha256, token_count, is_truncated, embedding)
    select distinct on (h.content_sha256) for_encoder_id, h.content_sha256, 0, false, h.embedding
      from pg_temp.hashed h
        on conflict do nothing;

    insert into ehrdb.embedding_point as p
           (encoder_id, prompt_id, patient_id, as_of, is_current, content_sha256)
    select for_encoder_id, n.prompt_id, h.patient_id, h.as_of, false, h.content_sha256
      from pg_temp.hashed h
      join ehrdb.encoder n on n.encoder_id = for_encoder_id
        on conflict (encoder_id, prompt_id, patient_id, as_of) do update
       set content_sha256 = excluded.content_sha256
     where p.content_sha256 <> excluded.content_sha256;
    get diagnostics changed = row_count;
    drop table pg_temp.hashed;

    if changed > 0 then
        perform ehrdb.keep_newest_current(for_encoder_id);
        perform ehrdb.concatenate_all();
    end if;
    return changed;
end
$$;

comment on function ehrdb.import_vectors(integer) is
'Takes the rows of the temporary table imported (patient_id, as_of, embedding) as this encoder''s vectors and
returns how many are new or differ from the ones before.';
