create or replace view ehr.failed_embedding with (security_invoker = true) as
select e.name as encoder, j.patient_id, j.as_of, j.reason, j.attempts, j.is_dead,
       case when not j.is_dead then j.not_before end as next_try
  from ehrdb.embedding_job j
  join ehrdb.encoder e using (encoder_id)
 where j.attempts > 0;

comment on view ehr.failed_embedding is
'Whose text could not be embedded, as of when, and the kind of error; given up after five attempts (is_dead) until
`ehrdb retry`. The patient stands for all who have the same text.
Example: select encoder, patient_id, reason, attempts from ehr.failed_embedding where is_dead;';
