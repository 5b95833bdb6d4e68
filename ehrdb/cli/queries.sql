-- name: timeline
-- a patient's current record as the demo's encoder reads it
select ehr.timeline(%(patient_id)s, format => 'list_graded');

-- name: most_like
-- the patient most like one
select patient_id from ehr.nearest_patients(%(patient_id)s, 1);

-- name: create_cohort_table
-- as the OMOP CDM defines it
create table if not exists {table} (
    cohort_definition_id integer not null,
    subject_id           bigint not null,
    cohort_start_date    date not null,
    cohort_end_date      date not null
);

-- name: insert_cohort
-- the controls, from their first event to their last at or before as_of
insert into {table} (cohort_definition_id, subject_id, cohort_start_date, cohort_end_date)
select %(definition_id)s, e.patient_id, min(e.time)::date, max(e.time)::date
  from ehr.event e
 where e.patient_id = any (%(controls)s) and isfinite(e.time) and e.time <= %(as_of)s
 group by e.patient_id;

-- name: store_predictions
-- everybody's probabilities, kept
select heads, predicted, written, removed from ehrdb.store_predictions(%(tasks)s::text[], %(encoder)s);
