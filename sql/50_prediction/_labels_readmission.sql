create or replace function ehrdb.labels_readmission(rule jsonb)
returns table (patient_id bigint, prediction_time timestamp, value integer)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    -- FEMR skips a stay whose discharge date is the admission date of an earlier kept stay. Admissions come in
    -- order, so that can only be a same-day stay after another admission of that day.
    with moment as (
        select distinct a.patient_id, a.discharge_day_end as t
          from ehrdb.admission a
         where not (a.number_on_day > 1 and a.start_time::date = a.end_time::date)
    ), outcome as (
        select m.patient_id, m.t, exists (
                   select from ehrdb.admission_start next
                    where next.patient_id = m.patient_id
                      and next.start_time between m.t + interval '1 minute'
                                              and m.t + make_interval(days => (rule ->> 'days')::integer)) as is_positive
          from moment m
    )
    select o.patient_id, date_trunc('minute', o.t), o.is_positive::integer
      from outcome o
     where o.is_positive
        or (select max(e.time) from ehrdb.event e where e.patient_id = o.patient_id)
           >= o.t + make_interval(days => (rule ->> 'days')::integer);
end;

comment on function ehrdb.labels_readmission(jsonb) is
'At the end of each discharge day: is the patient admitted again within so many days (guo_readmission)? Negative
only where the record goes on that long.';
