create or replace function ehrdb.labels_length_of_stay(rule jsonb)
returns table (patient_id bigint, prediction_time timestamp, value integer)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select a.patient_id, date_trunc('minute', a.admission_day_end),
           (a.end_time - a.start_time >= make_interval(days => (rule ->> 'days')::integer))::integer
      from ehrdb.admission a
     where a.start_time::date <> a.end_time::date;
end;

comment on function ehrdb.labels_length_of_stay(jsonb) is
'At the end of each admission day: does the stay last so many days (guo_los)? Stays within one day are left out.';
