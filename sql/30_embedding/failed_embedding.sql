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

comment on column ehr.failed_embedding.encoder is 'The encoder''s name (ehr.encoder).';
comment on column ehr.failed_embedding.patient_id is 'A patient with this text; stands for all who have it.';
comment on column ehr.failed_embedding.as_of is 'The moment up to which the text knows the record, inclusive.';
comment on column ehr.failed_embedding.reason is 'The kind of the last error.';
comment on column ehr.failed_embedding.attempts is 'How often it was tried.';
comment on column ehr.failed_embedding.is_dead is 'Whether it is given up, until `ehrdb retry`.';
comment on column ehr.failed_embedding.next_try is 'When it may be tried again; null if given up.';
