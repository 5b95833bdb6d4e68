create or replace view ehr.code_map with (security_invoker = true) as
select m.map, m.code, m.standard_code, m.description, m.standard_description
  from ehrdb.code_map m;

comment on view ehr.code_map is
'Which standard code a source''s code stands for, by map; * at the end of a code stands for all codes that begin so.
`ehrdb load map` fills it. Which codes here it fits: parents in ehr.concept.
Example: select * from ehr.code_map where standard_code = ''SNOMED/59621000'';';

comment on column ehr.code_map.map is 'Name of the map that the row came with; loading a map of that name replaces it.';
comment on column ehr.code_map.code is 'The source''s code, as vocabulary/code; * at its end: all codes that begin so.';
comment on column ehr.code_map.standard_code is 'The standard code that it stands for; null where there is none.';
comment on column ehr.code_map.description is 'What the source calls the code; null where the map does not say.';
comment on column ehr.code_map.standard_description is 'What the standard code is called; null where the map does not say.';
