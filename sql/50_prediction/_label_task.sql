create or replace function ehrdb.label_task(
    task text, out labels bigint, out positives bigint, out has_codes boolean, out in_open_stays bigint
)
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    rule jsonb;
    codes integer[];
begin
    perform ehrdb.hold_patients();
    select t.declaration into rule from ehrdb.task t where t.task = label_task.task;
    if rule ->> 'shape' <> 'imported' then
        delete from ehrdb.label l where l.task = label_task.task;
        execute format('insert into ehrdb.label (task, patient_id, prediction_time, value)
                        select $1, patient_id, prediction_time, value from ehrdb.%I($2)',
                       'labels_' || (rule ->> 'shape'))
          using task, rule;
    end if;
    codes := array(select ehrdb.outcome_codes(rule));
    if rule -> 'codes' is not null or rule #> '{outcome,codes}' is not null then
        has_codes := cardinality(codes) > 0 and exists (select from ehrdb.event e where e.code_id = any (codes));
    end if;
    in_open_stays := ehrdb.in_open_stays(rule);
    select count(*), count(*) filter (where ehrdb.is_positive(t, l.value))
      into labels, positives
      from ehrdb.label l join ehrdb.task t using (task)
     where l.task = label_task.task;
end
$$;

comment on function ehrdb.label_task(text) is
'Replaces a task''s labels by those that its rule gives now (imported ones stay); returns how many, how many
are positive, whether any event has one of the outcome''s codes (null: no matter of codes), and how many questions wait
for the end of a stay (null: none could).';
