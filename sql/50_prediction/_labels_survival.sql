create or replace function ehrdb.labels_survival(rule jsonb)
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
    ), followed as (
        select n.patient_id, n.t, least(k.last, p.death_time) as last,
               (select min(o.time) from outcome o where o.patient_id = n.patient_id and o.time > n.t) as happened,
               make_interval(days => (rule #>> '{intervals,-1}')::integer) as horizon
          from numbered n
          join known k using (patient_id)
          join ehrdb.patient p using (patient_id)
         where (n.number = 1 or not (rule #>> '{prediction_time,first}')::boolean)
           and n.t >= k.first and (p.death_time is null or n.t < p.death_time)
           and (rule -> 'min_age' is null
                or p.birth_time + make_interval(years => (rule ->> 'min_age')::integer) <= n.t)
           and not exists (select from excluding x
                            where x.patient_id = n.patient_id and x.time <= n.t
                              and (x.look_back is null or x.time >= n.t - x.look_back))
    ), counted as (
        select f.patient_id, f.t,
               case when f.happened <= f.t + f.horizon then ceil(extract(epoch from f.happened - f.t) / 86400)
                    else -floor(extract(epoch from least(f.last - f.t, f.horizon)) / 86400) end::integer as days
          from followed f
    )
    -- Who is not followed for a whole day says nothing.
    select c.patient_id, c.t, c.days from counted c where c.days <> 0
     order by c.patient_id, c.t;
end;

comment on function ehrdb.labels_survival(jsonb) is
'A site''s own task of time to an outcome: at each prediction time, the days until the outcome (a begun day is one), or,
negative, the whole days without it until the record ends, the patient dies or the last interval does.';
