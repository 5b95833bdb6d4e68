create or replace view ehr.code_map with (security_invoker = true) as
select m.map, m.code, m.standard_code, m.description, m.standard_description
  from ehrdb.code_map m;

comment on view ehr.code_map is
'Which standard code a source''s code stands for, by map; * at the end of a code stands for all codes that begin so.
`ehrdb load map` fills it. Which codes here it fits: parents in ehr.concept.
Example: select * from ehr.code_map where standard_code = ''SNOMED/59621000'';';
