create or replace view ehrdb.admission with (security_invoker = true) as
select e.patient_id, e.ordinal, e.time as start_time, e.end_time,
       e.time::date + time '23:59:59' as admission_day_end, e.end_time::date + time '23:59:59' as discharge_day_end,
       row_number() over (partition by e.patient_id, e.time::date order by e.ordinal) as number_on_day
  from ehrdb.event e
 where e.visit_class = 'inpatient' and e.end_time > e.time;

comment on view ehrdb.admission is
'Completed inpatient stays of some length, as the EHRSHOT tasks count them. Stays without an end are not over yet
and cannot be labelled. The end of a day is 23:59:59; labels are written with the seconds cut.';
