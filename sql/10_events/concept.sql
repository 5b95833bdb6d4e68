create or replace view ehr.concept with (security_invoker = true) as
select c.code, c.vocabulary, c.description, c.concept_id, c.standard_concept,
       array(select p.code from ehrdb.concept_parent cp join ehrdb.concept p on p.code_id = cp.parent_id
              where cp.child_id = c.code_id order by p.code) as parents
  from ehrdb.concept c;

comment on view ehr.concept is
'One row per code (VOCABULARY/CODE) with its description and the codes of its direct parents.
Example: select code, description from ehr.concept where description ilike ''%diabetes%'';';

comment on column ehr.concept.code is 'VOCABULARY/CODE, unique.';
comment on column ehr.concept.vocabulary is 'The vocabulary of the code, such as SNOMED.';
comment on column ehr.concept.description is 'The code in words; null where the source has none.';
comment on column ehr.concept.concept_id is 'OMOP concept id; null where the source has none.';
comment on column ehr.concept.standard_concept is 'OMOP: S standard, C classification; null otherwise.';
comment on column ehr.concept.parents is 'Codes of the direct parents, sorted; empty without any.';
