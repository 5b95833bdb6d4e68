create or replace view ehr.patient with (security_invoker = true) as
select p.patient_id, p.birth_time, p.death_time, p.sex, p.race, p.ethnicity, p.split, p.source
  from ehrdb.patient p;

comment on view ehr.patient is
'One row per patient. split is train, val or test where the source has one; times are local, without zone.
Example: select sex, count(*) from ehr.patient group by sex;';

comment on column ehr.patient.patient_id is 'The patient''s id, as in the source.';
comment on column ehr.patient.birth_time is 'When born, local, without zone; null where unknown.';
comment on column ehr.patient.death_time is 'When died, local, without zone; null where alive or unknown.';
comment on column ehr.patient.sex is 'As the source says it; null where unknown.';
comment on column ehr.patient.race is 'As the source says it; null where unknown.';
comment on column ehr.patient.ethnicity is 'As the source says it; null where unknown.';
comment on column ehr.patient.split is 'train, val or test; null where the source has no split.';
comment on column ehr.patient.source is 'The source that the patient was loaded from.';
