create or replace view ehrdb.stands_for with (security_invoker = true) as
select cp.child_id as code_id, cp.parent_id as standard_id
  from ehrdb.concept_parent cp
  join ehrdb.concept c on c.code_id = cp.child_id
 where strpos(c.code, '//') > 0 or '' = any (cp.sources);

comment on view ehrdb.stands_for is
'Codes that are what their parents are: those that ehrdb.code_map maps, and those of MEDS (A//B) with parent_codes.';
