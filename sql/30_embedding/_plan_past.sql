create or replace function ehrdb.plan_past(for_encoder_id integer, patient_ids bigint[]) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    queued integer;
begin
    create temp table wanted on commit drop as
    with past as (
        select row_number() over () as position, p.prompt_id, p.patient_id, p.as_of, p.content_sha256
          from ehrdb.embedding_point p
         where p.encoder_id = for_encoder_id and p.patient_id = any (patient_ids) and not p.is_current
    ), arrays as (
        select array_agg(patient_id order by position) as patient_ids,
               array_agg(as_of order by position) as as_ofs
          from past
    )
    select past.prompt_id, past.patient_id, past.as_of, false as is_current,
           ehrdb.content_sha256(pr.prompt, t.text) as content_sha256, length(t.text) as characters
      from arrays
     cross join ehrdb.encoder e
     cross join lateral ehr.timelines(arrays.patient_ids, arrays.as_ofs, e.format) t
      join past on past.position = t.position
      join ehrdb.prompt pr on pr.prompt_id = past.prompt_id
     where e.encoder_id = for_encoder_id
       and arrays.patient_ids is not null
       and ehrdb.content_sha256(pr.prompt, t.text) <> past.content_sha256;

    -- What was once current is not worth another embedding; the moment of a label, an index date or a snapshot is.
    delete from ehrdb.embedding_point p using pg_temp.wanted w
     where p.encoder_id = for_encoder_id
       and (p.prompt_id, p.patient_id, p.as_of) = (w.prompt_id, w.patient_id, w.as_of)
       and (w.characters = 0 and not (select e.embeds_empty from ehrdb.encoder e where e.encoder_id = for_encoder_id)
            or not exists (select from ehrdb.label l where l.patient_id = p.patient_id and l.prediction_time = p.as_of)
           and not exists (select from ehrdb.index_date i where i.patient_id = p.patient_id and i.as_of = p.as_of)
           and not exists (select from ehrdb.snapshot s where s.as_of = p.as_of));
    delete from pg_temp.wanted w
     where not exists (select from ehrdb.embedding_point p
                        where p.encoder_id = for_encoder_id
                          and (p.prompt_id, p.patient_id, p.as_of) = (w.prompt_id, w.patient_id, w.as_of));

    queued := ehrdb.apply_plan(for_encoder_id);
    drop table pg_temp.wanted;
    return queued;
end
$$;

comment on function ehrdb.plan_past(integer, bigint[]) is
'Re-checks earlier moments of these patients after a late record: moments of labels, index dates and
snapshots are queued again, others dropped.';
