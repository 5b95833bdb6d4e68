create or replace function ehrdb.apply_plan(for_encoder_id integer) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    queued integer;
begin
    analyze pg_temp.wanted;  -- a few rows are looked up, many are joined
    insert into ehrdb.embedding_point as p
           (encoder_id, prompt_id, patient_id, as_of, is_current, content_sha256)
    select for_encoder_id, w.prompt_id, w.patient_id, w.as_of, w.is_current, w.content_sha256
      from pg_temp.wanted w
        on conflict (encoder_id, prompt_id, patient_id, as_of) do update
       set is_current = p.is_current or excluded.is_current, content_sha256 = excluded.content_sha256
     where (p.is_current or excluded.is_current, excluded.content_sha256)
           is distinct from (p.is_current, p.content_sha256);

    insert into ehrdb.embedding_job (encoder_id, content_sha256, prompt_id, patient_id, as_of, characters)
    select distinct on (w.content_sha256)
           for_encoder_id, w.content_sha256, w.prompt_id, w.patient_id, w.as_of, w.characters
      from pg_temp.wanted w
     where not exists (select from ehrdb.embedding e
                        where e.encoder_id = for_encoder_id and e.content_sha256 = w.content_sha256)
     order by w.content_sha256, w.patient_id, w.as_of
        on conflict do nothing;
    get diagnostics queued = row_count;

    perform ehrdb.serve_current(for_encoder_id, array(select w.content_sha256 from pg_temp.wanted w));
    return queued;
end
$$;

comment on function ehrdb.apply_plan(integer) is
'Records the points of the temporary table wanted and queues contents without a vector; returns how many.';
