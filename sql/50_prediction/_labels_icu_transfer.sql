create or replace function ehrdb.labels_icu_transfer(rule jsonb)
returns table (patient_id bigint, prediction_time timestamp, value integer)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with icu as materialized (
        -- Intensive care whose end is not known has begun all the same.
        select e.patient_id, e.time from ehrdb.event e
         where e.visit_class = 'icu' and isfinite(e.time) and e.end_time is distinct from e.time
    )
    select a.patient_id, date_trunc('minute', a.admission_day_end),
           exists (select from icu where icu.patient_id = a.patient_id
                      and icu.time between a.admission_day_end and a.end_time)::integer
      from ehrdb.admission a
     where a.start_time::date <> a.end_time::date
       and not exists (select from icu where icu.patient_id = a.patient_id and icu.time::date = a.start_time::date);
end;

comment on function ehrdb.labels_icu_transfer(jsonb) is
'At the end of each admission day without intensive care: does intensive care start later in the stay (guo_icu)?';
