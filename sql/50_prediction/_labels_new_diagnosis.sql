create or replace function ehrdb.labels_new_diagnosis(rule jsonb)
returns table (patient_id bigint, prediction_time timestamp, value integer)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with outcome as materialized (
        select e.patient_id, e.time
          from ehrdb.event latest  -- who has such a code; then all of theirs
          join ehrdb.event e on e.patient_id = latest.patient_id and e.code_id = latest.code_id
         where latest.code_id in (select ehrdb.expanded_codes(array(select jsonb_array_elements_text(rule -> 'codes'))))
           and latest.valid_to = 'infinity'
    ), moment as (
        select distinct a.patient_id, a.discharge_day_end as t from ehrdb.admission a
    )
    select m.patient_id, date_trunc('minute', m.t),
           exists (select from outcome o where o.patient_id = m.patient_id
                      and o.time between m.t + interval '1 day'
                                     and m.t + make_interval(days => (rule ->> 'days')::integer))::integer
      from moment m
     where not exists (select from outcome o where o.patient_id = m.patient_id and o.time < m.t);
end;

comment on function ehrdb.labels_new_diagnosis(jsonb) is
'At the end of each discharge day before the first such diagnosis: is it recorded between one day and so many days
later (new_*)? A missing follow-up counts as negative, as in the benchmark.';
