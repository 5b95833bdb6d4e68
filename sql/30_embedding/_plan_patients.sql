create or replace function ehrdb.plan_patients(for_encoder_id integer, patient_ids bigint[]) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_custom_plan  -- a list of one and a list of thousands are not read alike
as $$
declare
    queued integer;
    shown bytea[];
begin
    if patient_ids = '{}' then
        return 0;
    end if;
    -- In the order of a worker that stores vectors: first who shows them, then what search reads. Only points of the past
    -- may go, and are waited for.
    perform from ehrdb.embedding_point p
      where p.encoder_id = for_encoder_id and p.patient_id = any (patient_ids) and not p.is_current
      order by p.patient_id, p.as_of, p.prompt_id
        for update;
    shown := array(select distinct p.content_sha256 from ehrdb.embedding_point p
                    where p.encoder_id = for_encoder_id and p.patient_id = any (patient_ids));
    queued := ehrdb.plan_current(for_encoder_id, patient_ids) + ehrdb.plan_past(for_encoder_id, patient_ids);
    perform ehrdb.drop_unused(for_encoder_id, shown);
    return queued + ehrdb.queue_lost(for_encoder_id, shown);
end
$$;

comment on function ehrdb.plan_patients(integer, bigint[]) is
'Compares texts of these patients, at all moments, with what was embedded: queues what differs, drops what nobody shows
any more. Returns how many contents were queued.';
