-- name: task
-- one that needs no labels
insert into ehrdb.task (task, task_group, kind, description, declaration)
values (%(task)s, 'bench', 'binary', '', '{"shape": "imported"}');

-- name: head
-- as training stores it
insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance)
values (%(task)s, %(task)s, %(encoder_id)s, %(prompt_id)s, %(weights)s, %(intercept)s, '{}');

-- name: fetch
-- vectors as pgvector's adapter reads them
select embedding from ehrdb.patient_embedding where encoder_id = %(encoder_id)s order by patient_id;

-- name: copy_out
-- the same by COPY
copy (select embedding from ehrdb.patient_embedding where encoder_id = %(encoder_id)s order by patient_id)
  to stdout (format binary);

-- name: each
-- a call a head
insert into scored
select t.task, p.patient_id, p.probability
  from unnest(%(tasks)s::text[]) as t (task), ehr.predict_cohort(t.task) p;

-- name: all
-- one call
insert into scored select p.task, p.patient_id, p.probability from ehr.predict_cohort(%(tasks)s::text[]) p;

-- name: scored
-- probabilities by patient, in the order of the tasks
select array_agg(probability order by array_position(%(tasks)s::text[], task)) from scored group by patient_id order by patient_id;
