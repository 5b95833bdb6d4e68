-- name: uses_prompts
-- whether the encoder was trained to follow an instruction in front of the text
select (manifest ->> 'prompt_template')::boolean from ehrdb.encoder where encoder_id = %(encoder_id)s;

-- name: plan_labels
-- queue the timelines as of the task's prediction times
select ehrdb.plan_labels(%(encoder_id)s, %(task)s, %(prompt_id)s);

-- name: store_head
-- one head per target and encoder; a new one takes the old one's place, whose probabilities go
with stored as (
    insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, calibration_slope, calibration_shift,
                            provenance)
    values (%(task)s, %(target)s, %(encoder_id)s, %(prompt_id)s, %(weights)s, %(intercept)s, %(slope)s, %(shift)s,
            %(provenance)s)
    on conflict (target, encoder_id) do update
       set prompt_id = excluded.prompt_id, weights = excluded.weights, intercept = excluded.intercept,
           calibration_slope = excluded.calibration_slope, calibration_shift = excluded.calibration_shift,
           provenance = excluded.provenance, trained_at = now()
    returning head_id
)
delete from ehrdb.patient_prediction p using stored where p.head_id = stored.head_id;

-- name: provenance
-- what a head was trained on: the loads of each source, the labels, who is in which split
select jsonb_build_object(
           'sources', (select jsonb_agg(jsonb_build_object('source', s.source, 'patients', s.patients,
                                                           'digest', encode(s.digest, 'hex')) order by s.source)
                         from ehrdb.source s),
           'labels_sha256', (select encode(sha256(convert_to(string_agg(
                                        format('%%s %%s %%s', l.patient_id, l.prediction_time, l.value), E'\n'
                                        order by l.patient_id, l.prediction_time, l.value), 'UTF8')), 'hex')
                               from ehrdb.label l where l.task = %(task)s),
           'split', case when exists (select from ehrdb.label l join ehrdb.patient p using (patient_id)
                                       where l.task = %(task)s and p.split is null)
                         then 'by patient id: 70 train, 15 val, 15 test' else 'the source''s own' end);
