-- name: timeline
-- a patient's current record as the demo's encoder reads it
select ehr.timeline(%(patient_id)s, format => 'list_graded');

-- name: most_like
-- the patient most like one
select patient_id from ehr.nearest_patients(%(patient_id)s, 1);

-- name: store_predictions
-- everybody's probabilities, kept
select heads, predicted, written, removed from ehrdb.store_predictions(%(tasks)s::text[], %(encoder)s);
