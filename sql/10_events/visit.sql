create or replace view ehr.visit with (security_invoker = true) as
select e.patient_id, e.visit_id, e.visit_class, e.time as start_time, e.end_time, c.code, c.description
  from ehrdb.event e
  join ehrdb.concept c using (code_id)
 where e.visit_class is not null;

comment on view ehr.visit is
'One row per visit: inpatient, emergency, outpatient, icu or other, with its start and end.
Example: select count(*) from ehr.visit where visit_class = ''inpatient'';';
