create or replace function ehrdb.labels_outcome_in_window(rule jsonb)
returns table (patient_id bigint, prediction_time timestamp, value integer)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with outcome as materialized (
        select o.patient_id, o.event_time as time from ehrdb.selected_event(rule -> 'outcome') o
    ), excluding as materialized (
        select e.patient_id, e.event_time as time, make_interval(days => (x.selector ->> 'days')::integer) as look_back
          from jsonb_array_elements(rule -> 'exclude') as x (selector), ehrdb.selected_event(x.selector) e
    ), known as materialized (
        select e.patient_id, min(e.time) as first, max(e.time) as last
          from ehrdb.event e where isfinite(e.time) group by e.patient_id
    ), moment as (
        select distinct s.patient_id, ehrdb.prediction_moment(s.event_time, rule -> 'prediction_time') as t
          from ehrdb.selected_event(rule -> 'prediction_time') s
    ), numbered as (
        select m.*, row_number() over (partition by m.patient_id order by m.t) as number from moment m
    ), bounded as (
        select n.patient_id, n.t, n.t + make_interval(secs => 3600 * (rule #>> '{outcome,from_hours}')::float8) as start,
               case when rule #>> '{outcome,until}' = 'discharge'
                    then (select max(a.end_time) from ehrdb.admission a
                           where a.patient_id = n.patient_id and n.t between a.start_time and a.end_time)
                    else n.t + make_interval(days => (rule #>> '{outcome,days}')::integer) end as finish
          from numbered n
         where n.number = 1 or not (rule #>> '{prediction_time,first}')::boolean
    ), judged as (
        select b.*, k.last, p.death_time,
               exists (select from outcome o
                        where o.patient_id = b.patient_id and o.time > b.start and o.time <= b.finish) as is_positive
          from bounded b
          join known k using (patient_id)
          join ehrdb.patient p using (patient_id)
         where b.finish > b.start and b.t >= k.first and (p.death_time is null or b.t < p.death_time)
           and (rule -> 'min_age' is null
                or p.birth_time + make_interval(years => (rule ->> 'min_age')::integer) <= b.t)
           and (rule ->> 'sex' is null or lower(left(p.sex, 1)) = left(rule ->> 'sex', 1))
           and ((rule ->> 'full_demographics')::boolean is not true
                or (p.birth_time, p.sex, coalesce(p.race, p.ethnicity)) is not null)
           and ((rule ->> 'observed_around')::boolean is not true
                or k.last > b.t and exists (select from ehrdb.event e
                                             where e.patient_id = b.patient_id and e.time <= b.t and isfinite(e.time)
                                               and e.time is distinct from p.birth_time))
           and not exists (select from excluding x
                            where x.patient_id = b.patient_id and x.time <= b.t
                              and (x.look_back is null or x.time >= b.t - x.look_back))
    )
    select j.patient_id, j.t, j.is_positive::integer
      from judged j
     where j.is_positive or rule ->> 'censoring' = 'negative' or rule #>> '{outcome,until}' = 'discharge'
        or j.last >= j.finish or j.death_time <= j.finish
     order by j.patient_id, j.t;
end;

comment on function ehrdb.labels_outcome_in_window(jsonb) is
'A site''s own task: at each prediction time, does the outcome begin in the window after it? Left out: moments
without a record, after death, excluded, below the minimum age, not of the sex or observed as asked, and, unless censoring says negative, negatives
whose record ends before the window does.';
