-- name: tasks
-- what can be predicted
select h.task, t.description, t.labels, t.positives
  from ehr.head h join ehr.task t on t.task = h.task join ehr.encoder n on n.name = h.encoder and n.is_serving
 order by h.task;

-- name: is_code
-- whether there is such a concept
select exists (select from ehr.concept c where c.code = %(code)s) as is_code;

-- name: with_code
-- patients whose record holds a code
select distinct e.patient_id from ehr.event e where e.code = %(code)s order by e.patient_id limit %(k)s;
