create or replace view ehr.audit with (security_invoker = true) as
select a.at, a.who, a.what, a.patients, a.cohort_size
  from ehrdb.audit a;

comment on view ehr.audit is
'Who asked what about whom, when: searches, explanations, timelines, predictions, exports and purges from the command
line, and searches in words from SQL; the patients that were named or how many a cohort had, never what was found. For
administrators; nobody changes it. Functions called from SQL are audited by pgaudit (docs/security.md).
Example: select at, who, what, patients from ehr.audit where 17 = any (patients) order by at;';
