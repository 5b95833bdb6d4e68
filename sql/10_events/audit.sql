create or replace view ehr.audit with (security_invoker = true) as
select a.at, a.who, a.what, a.patients, a.cohort_size
  from ehrdb.audit a;

comment on view ehr.audit is
'Who asked what about whom, when: searches, explanations, timelines, predictions, exports and purges from the command
line, and searches in words from SQL; the patients that were named or how many a cohort had, never what was found. For
administrators; nobody changes it. Functions called from SQL: ehr.audit_functions, or pgaudit (docs/security.md).
Example: select at, who, what, patients from ehr.audit where 17 = any (patients) order by at;';

comment on column ehr.audit.at is 'When it was asked.';
comment on column ehr.audit.who is 'The database login that asked.';
comment on column ehr.audit.what is 'What was asked, in a word or two; never what was found.';
comment on column ehr.audit.patients is 'Ids of the patients that were named; null where none was.';
comment on column ehr.audit.cohort_size is 'How many patients the cohort had; null without a cohort.';
