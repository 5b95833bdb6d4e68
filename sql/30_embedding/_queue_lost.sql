create or replace function ehrdb.queue_lost(for_encoder_id integer, contents bytea[] default null) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_custom_plan  -- a list of one and a list of thousands are not read alike
as $$
declare
    queued integer;
begin
    insert into ehrdb.embedding_job (encoder_id, content_sha256, prompt_id, patient_id, as_of, characters)
    select distinct on (p.content_sha256) p.encoder_id, p.content_sha256, p.prompt_id, p.patient_id, p.as_of, 0
      from ehrdb.embedding_point p
     where p.encoder_id = for_encoder_id
       and (contents is null or p.content_sha256 = any (contents))
       and not exists (select from ehrdb.embedding e
                        where e.encoder_id = for_encoder_id and e.content_sha256 = p.content_sha256)
       and not exists (select from ehrdb.embedding_job j
                        where j.encoder_id = for_encoder_id and j.content_sha256 = p.content_sha256)
     order by p.content_sha256, p.patient_id, p.as_of
        on conflict do nothing;
    get diagnostics queued = row_count;
    return queued;
end
$$;

comment on function ehrdb.queue_lost(integer, bytea[]) is
'Queues those of these contents (null: of all) that a patient shows and that have neither vector nor job: several
patients may share a text, and the one that stood for it in the queue has gone or changed. Returns how many.';
