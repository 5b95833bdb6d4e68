create or replace view ehrdb.admission_start with (security_invoker = true) as
select e.patient_id, e.time as start_time
  from ehrdb.event e
 where e.visit_class = 'inpatient' and isfinite(e.time) and e.end_time is distinct from e.time;

comment on view ehrdb.admission_start is
'Starts of inpatient stays, those included whose end is unknown or, in the source, lies before the start: the patient
was admitted. Stays of no length are none, as in EHRSHOT.';
