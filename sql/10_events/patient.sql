create or replace view ehr.patient with (security_invoker = true) as
select p.patient_id, p.birth_time, p.death_time, p.sex, p.race, p.ethnicity, p.split, p.source
  from ehrdb.patient p;

comment on view ehr.patient is
'One row per patient. split is train, val or test where the source has one; times are local, without zone.
Example: select sex, count(*) from ehr.patient group by sex;';
