create or replace view ehrdb.clinical_concept with (security_invoker = true) as
select c.code_id, c.code, c.description
  from ehrdb.concept c
  left join ehrdb.concept_category k on k.rules = 'paper' and k.code_id = c.code_id
 where coalesce(k.category, '') not in ('demographics', 'visits')
   and c.vocabulary <> all (array(select x.vocabulary from ehrdb.excluded_vocabulary x))
   and upper(c.vocabulary) not in (
        'GENDER', 'RACE', 'ETHNICITY', 'MARITAL_STATUS', 'LANGUAGE', 'INSURANCE', 'MEDS_BIRTH', 'MEDS_DEATH', 'VISIT',
        'HOSPITAL_ADMISSION', 'HOSPITAL_DISCHARGE', 'ICU_ADMISSION', 'ICU_DISCHARGE', 'TRANSFER_TO', 'ED_REGISTRATION',
        'ED_OUT');

comment on view ehrdb.clinical_concept is
'Concepts that say how a patient is, not who or where: without demographics, visits, and their like in MEDS data.';
