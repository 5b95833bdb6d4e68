create or replace function ehrdb.plan_labels(for_encoder_id integer, task text, with_prompt_id integer)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_custom_plan  -- a list of one and a list of thousands are not read alike
as $$
declare
    queued integer;
begin
    create temp table wanted on commit drop as
    with moment as (
        select distinct l.patient_id, l.prediction_time from ehrdb.label l where l.task = plan_labels.task
    ), arrays as (
        select array_agg(patient_id) as patient_ids, array_agg(prediction_time) as as_ofs from moment
    )
    select with_prompt_id as prompt_id, t.patient_id, t.as_of, false as is_current,
           ehrdb.content_sha256(pr.prompt, t.text) as content_sha256, length(t.text) as characters
      from arrays
     cross join ehrdb.encoder e
     cross join lateral ehr.timelines(arrays.patient_ids, arrays.as_ofs, e.format) t
      join ehrdb.prompt pr on pr.prompt_id = with_prompt_id
     where e.encoder_id = for_encoder_id and e.kind = 'model' and arrays.patient_ids is not null and t.text <> '';

    queued := ehrdb.apply_plan(for_encoder_id);
    drop table pg_temp.wanted;
    return queued;
end
$$;

comment on function ehrdb.plan_labels(integer, text, integer) is
'Queues the timelines as of every prediction time of a task, under that prompt; returns how many contents are new.';
