create or replace function ehrdb.plan_labels(for_encoder_id integer, task text, with_prompt_id integer)
returns integer
language sql
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    select ehrdb.plan_moments(for_encoder_id, array_agg(m.patient_id), array_agg(m.prediction_time), with_prompt_id)
      from (select distinct l.patient_id, l.prediction_time from ehrdb.label l where l.task = plan_labels.task) m;
end;

comment on function ehrdb.plan_labels(integer, text, integer) is
'Queues the timelines as of every prediction time of a task, under that prompt; returns how many contents are new.';
