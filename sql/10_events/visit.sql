create or replace view ehr.visit with (security_invoker = true) as
select e.patient_id, e.visit_id, e.visit_class, e.time as start_time, e.end_time, c.code, c.description
  from ehrdb.event e
  join ehrdb.concept c using (code_id)
 where e.visit_class is not null;

comment on view ehr.visit is
'One row per visit: inpatient, emergency, outpatient, icu or other, with its start and end.
Example: select count(*) from ehr.visit where visit_class = ''inpatient'';';

comment on column ehr.visit.patient_id is 'Whose visit it is.';
comment on column ehr.visit.visit_id is 'The visit''s id, as in the source; events of it carry the same.';
comment on column ehr.visit.visit_class is 'inpatient, emergency, outpatient, icu or other.';
comment on column ehr.visit.start_time is 'When it began, local, without zone.';
comment on column ehr.visit.end_time is 'When it ended; null without an end.';
comment on column ehr.visit.code is 'What kind of visit, as VOCABULARY/CODE.';
comment on column ehr.visit.description is 'The code in words; null where the source has none.';
