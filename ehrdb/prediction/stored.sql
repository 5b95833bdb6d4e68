-- name: labels
-- of these tasks, in the protocol's order
select l.patient_id, l.prediction_time, l.task, l.value, coalesce(p.split, ehrdb.split_of(p.patient_id))
  from ehrdb.label l
  join ehrdb.patient p using (patient_id)
 where l.task = any (%(tasks)s)
 order by l.patient_id, l.prediction_time, l.ctid;

-- name: vectors
-- of an encoder at a task's prediction times
select n.patient_id, date_trunc('minute', n.as_of), %(target)s::text, e.embedding
  from (select distinct l.patient_id, l.prediction_time from ehrdb.label l where l.task = %(task)s) l
  join ehrdb.embedding_point n on n.encoder_id = %(encoder_id)s and n.prompt_id = %(prompt_id)s
   and n.patient_id = l.patient_id and n.as_of = l.prediction_time
  join ehrdb.embedding e on e.encoder_id = n.encoder_id and e.content_sha256 = n.content_sha256
 order by n.patient_id, n.as_of;

-- name: patients
-- what subgroups and the demographics baseline need
select patient_id, birth_time, sex, race from ehr.patient;

-- name: texts
-- of patients, each as of a moment, in the order of the lists
select t.text from ehr.timelines(%(patient_ids)s, %(as_ofs)s::timestamp[], %(format)s) t order by t."position";

-- name: given_encoders
-- models outside that gave probabilities, each with the target that they are of
select e.name, h.target
  from ehrdb.encoder e
  left join ehrdb.head h using (encoder_id)
 where e.manifest ->> 'gives' = 'probabilities';
