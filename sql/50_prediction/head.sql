create or replace view ehr.head with (security_invoker = true) as
select h.target as task, e.name as encoder, h.trained_at, h.provenance, h.head_id, h.base_rate
  from ehrdb.head h
  join ehrdb.encoder e using (encoder_id);

comment on view ehr.head is
'One row per trained head. provenance: labels, split, chosen C, library versions, encoder digest, test scores.
Example: select task, provenance->''test'' from ehr.head;';

comment on column ehr.head.task is 'The target that it predicts: a task, or one of a task''s targets.';
comment on column ehr.head.encoder is 'The encoder whose vectors it reads (ehr.encoder).';
comment on column ehr.head.trained_at is 'When it was trained.';
comment on column ehr.head.provenance is 'Labels, split, settings, versions and test scores, as JSON.';
comment on column ehr.head.head_id is 'What ehr.predict_cohort calls it; a head trained anew has another.';
comment on column ehr.head.base_rate is 'The share of its labels that are positive; of an interval''s head the share of those who reach it.';
