create or replace view ehrdb.administrative_concept with (security_invoker = true) as
select k.code_id
  from ehrdb.concept_category k
 where k.rules = 'paper' and k.category in ('demographics', 'visits')
union
select c.code_id
  from ehrdb.concept c
 where c.vocabulary in (select x.vocabulary from ehrdb.excluded_vocabulary x)
    or upper(c.vocabulary) in (
        'GENDER', 'RACE', 'ETHNICITY', 'MARITAL_STATUS', 'LANGUAGE', 'INSURANCE', 'MEDS_BIRTH', 'MEDS_DEATH', 'VISIT',
        'HOSPITAL_ADMISSION', 'HOSPITAL_DISCHARGE', 'ICU_ADMISSION', 'ICU_DISCHARGE', 'TRANSFER_TO', 'ED_REGISTRATION',
        'ED_OUT');

comment on view ehrdb.administrative_concept is
'Concepts that say who or where a patient is, not how: demographics, visits, and their like in MEDS data.';
