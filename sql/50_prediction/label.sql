create or replace view ehr.label with (security_invoker = true) as
select l.task, l.patient_id, l.prediction_time, l.value
  from ehrdb.label l;

comment on view ehr.label is
'One row per label. value: 0 or 1; lab tasks the class 0-3; chexpert the 14 findings as bits. Several rows may
share a time. Example: select task, value, count(*) from ehr.label group by task, value;';

comment on column ehr.label.task is 'The task (ehr.task).';
comment on column ehr.label.patient_id is 'Whose label it is.';
comment on column ehr.label.prediction_time is 'The moment of the question: what is known by then, inclusive, may be used.';
comment on column ehr.label.value is '0 or 1; lab tasks the class 0-3; chexpert 14 findings as bits.';
