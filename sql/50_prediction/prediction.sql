create or replace view ehr.prediction with (security_invoker = true) as
select h.target as task, n.name as encoder, s.patient_id, s.probability, s.as_of as known_until, s.predicted_at, h.head_id,
       h.base_rate,
       (select e.is_stale or e.as_of <> s.as_of from ehrdb.served_embedding e
         where e.encoder_id = h.encoder_id and e.patient_id = s.patient_id) as is_stale
  from ehrdb.patient_prediction s
  join ehrdb.head h using (head_id)
  join ehrdb.encoder n using (encoder_id);

comment on view ehr.prediction is
'Probabilities as `ehrdb predict --materialize` last left them, for dashboards: task, encoder, patient, the moment up
to which the record was known, and when the row last changed. Heads trained anew have none until the next run.
Example: select patient_id, probability from ehr.prediction where task = ''guo_los'' order by probability desc limit 10;';

comment on column ehr.prediction.task is 'The target that is predicted (ehr.head).';
comment on column ehr.prediction.encoder is 'The encoder whose vector was read (ehr.encoder).';
comment on column ehr.prediction.patient_id is 'Whose probability it is.';
comment on column ehr.prediction.probability is 'From 0 to 1.';
comment on column ehr.prediction.known_until is 'The moment up to which the record was known, inclusive.';
comment on column ehr.prediction.predicted_at is 'When the row last changed.';
comment on column ehr.prediction.head_id is 'Which head it was (ehr.head).';
comment on column ehr.prediction.base_rate is 'The share of the head''s labels that are positive.';
comment on column ehr.prediction.is_stale is 'Whether the record, or its vector, has changed since. Null: there is no vector any more.';
