create or replace function ehrdb.plan_current(for_encoder_id integer, patient_ids bigint[]) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    queued integer;
begin
    create temp table wanted on commit drop as
    select ep.prompt_id, t.patient_id, t.last_event_time as as_of, true as is_current,
           ehrdb.content_sha256(ep.prompt, t.text) as content_sha256, length(t.text) as characters
      from ehrdb.encoder e
     cross join lateral ehr.current_timelines(e.format, patient_ids) t
      join ehrdb.encoder_prompt ep on ep.encoder_id = e.encoder_id
     where e.encoder_id = for_encoder_id and (t.text <> '' or e.embeds_empty);

    -- A newer moment takes over; the older one stays as history where its text still holds (plan_past).
    update ehrdb.embedding_point p set is_current = false
     where p.encoder_id = for_encoder_id and p.patient_id = any (patient_ids) and p.is_current
       and not exists (select from pg_temp.wanted w
                        where (w.prompt_id, w.patient_id, w.as_of) = (p.prompt_id, p.patient_id, p.as_of));
    delete from ehrdb.patient_embedding s
     where s.encoder_id = for_encoder_id and s.patient_id = any (patient_ids)
       and not exists (select from pg_temp.wanted w where w.patient_id = s.patient_id and w.characters > 0);

    queued := ehrdb.apply_plan(for_encoder_id);
    drop table pg_temp.wanted;
    return queued;
end
$$;

comment on function ehrdb.plan_current(integer, bigint[]) is
'Compares the current text of these patients with what was embedded and queues what differs.';
