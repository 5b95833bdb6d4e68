create or replace view ehr.concept with (security_invoker = true) as
select c.code, c.vocabulary, c.description, c.concept_id, c.standard_concept,
       array(select p.code from ehrdb.concept_parent cp join ehrdb.concept p on p.code_id = cp.parent_id
              where cp.child_id = c.code_id order by p.code) as parents
  from ehrdb.concept c;

comment on view ehr.concept is
'One row per code (VOCABULARY/CODE) with its description and the codes of its direct parents.
Example: select code, description from ehr.concept where description ilike ''%diabetes%'';';
