-- name: others
-- patients that are not the demo's
select count(*) from ehrdb.patient where source <> %(source)s;

-- name: example_patient
-- with an inpatient stay, two diagnoses in the last year, and a text of moderate length
select v.patient_id
  from ehr.visit v
  join ehr.current_timeline t using (patient_id)
 where v.visit_class = 'inpatient' and v.start_time > t.last_event_time - interval '1 year'
 group by v.patient_id, t.text
 order by abs(length(t.text) - 3500), v.patient_id
 limit 1;
