-- name: labels
-- of these tasks, in the protocol's order
select l.patient_id, l.prediction_time, l.task, l.value, coalesce(p.split, ehrdb.split_of(p.patient_id))
  from ehrdb.label l
  join ehrdb.patient p using (patient_id)
 where l.task = any (%(tasks)s)
 order by l.patient_id, l.prediction_time, l.ctid;

-- name: vectors
-- of an encoder at a task's prediction times
select n.patient_id, date_trunc('minute', n.as_of), %(task)s::text, e.embedding
  from (select distinct l.patient_id, l.prediction_time from ehrdb.label l where l.task = %(task)s) l
  join ehrdb.embedding_point n on n.encoder_id = %(encoder_id)s and n.prompt_id = %(prompt_id)s
   and n.patient_id = l.patient_id and n.as_of = l.prediction_time
  join ehrdb.embedding e on e.encoder_id = n.encoder_id and e.content_sha256 = n.content_sha256
 order by n.patient_id, n.as_of;

-- name: patients
-- what subgroups and the demographics baseline need
select patient_id, birth_time, sex, race from ehr.patient;

-- name: events
-- everything that is timed, in the source's order
copy (select e.patient_id, e.time, c.code, e.numeric_value, e.text_value
        from ehrdb.event e join ehrdb.concept c using (code_id)
       where e.patient_id = any (%(patients)s) and isfinite(e.time)
       order by e.patient_id, e.time, e.ordinal) to stdout (format csv);

-- name: ancestors
-- of every code that these patients have
with recursive used as (
    select distinct e.code_id from ehrdb.event e where e.patient_id = any (%(patients)s)
), above (code_id, ancestor_id) as (
    select u.code_id, p.parent_id from used u join ehrdb.concept_parent p on p.child_id = u.code_id
    union
    select a.code_id, p.parent_id from above a join ehrdb.concept_parent p on p.child_id = a.ancestor_id
)
select c.code, p.code
  from above a
  join ehrdb.concept c on c.code_id = a.code_id
  join ehrdb.concept p on p.code_id = a.ancestor_id;
