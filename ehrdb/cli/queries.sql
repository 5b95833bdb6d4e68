-- name: timeline
-- a patient's current record as the demo's encoder reads it
select ehr.timeline(%(patient_id)s, format => 'list_graded');

-- name: most_like
-- the patient most like one
select patient_id from ehr.nearest_patients(%(patient_id)s, 1);

-- name: store_predictions
-- everybody's probabilities, kept
select heads, predicted, written, removed from ehrdb.store_predictions(%(tasks)s::text[], %(encoder)s);

-- name: monitored_tasks
-- tasks whose heads of an encoder are monitored
select h.target
  from ehrdb.head h
  join ehrdb.task t using (task)
 where h.encoder_id = ehrdb.encoder_id(%(encoder)s) and h.target = h.task and t.kind in ('binary', 'multiclass')
 order by h.target;

-- name: may_keep_months
-- whether this role may write what it found
select has_table_privilege('ehrdb.head_month', 'insert');

-- name: keep_months
-- for a worker's metrics
select ehrdb.keep_months(%(tasks)s, %(encoder)s);

-- name: basis
-- what a task's head answers, how many of its labels were positive, and when it was trained
select t.description, h.base_rate, h.trained_at
  from ehrdb.head_of(%(task)s, ehrdb.encoder_id(%(encoder)s)) h
  join ehrdb.task t on t.task = h.task;
