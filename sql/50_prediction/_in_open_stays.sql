create or replace function ehrdb.in_open_stays(rule jsonb) returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with stay as (
        select e.patient_id, e.time, e.end_time
          from ehrdb.event e
         where e.visit_class = 'inpatient' and isfinite(e.time) and rule ->> 'shape' in
               ('length_of_stay', 'icu_transfer', 'outcome_in_window')
    ), moment as (
        select m.patient_id, m.t, row_number() over (partition by m.patient_id order by m.t) as number
          from (select distinct s.patient_id, ehrdb.prediction_moment(s.event_time, rule -> 'prediction_time') as t
                  from ehrdb.selected_event(rule -> 'prediction_time') s
                 where rule #>> '{outcome,until}' = 'discharge') m
    )
    select case
           when rule ->> 'shape' in ('length_of_stay', 'icu_transfer')
           then (select count(*) from stay s where s.end_time is null)
           when rule #>> '{outcome,until}' = 'discharge'
           then (select count(*)
                   from moment m
                  where (m.number = 1 or not (rule #>> '{prediction_time,first}')::boolean)
                    -- The stay of that moment is the last that had begun.
                    and (select s.end_time is null from stay s where s.patient_id = m.patient_id and s.time <= m.t
                          order by s.time desc, s.end_time desc nulls last limit 1)) end;
end;

comment on function ehrdb.in_open_stays(jsonb) is
'How many questions of a task that is answered at discharge are asked in stays without an end: they have no label. Null: the
task does not wait for a discharge.';
