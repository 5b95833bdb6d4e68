create or replace view ehrdb.measured_as with (security_invoker = true) as
select c.code_id, m.rules, min(m.position) as position
  from ehrdb.concept c
 cross join lateral (
    select c.code
    union all
    -- Codes of MEDS (A//B) are what their parents are, or what their description says.
    select parent.code
      from ehrdb.concept_parent cp
      join ehrdb.concept parent on parent.code_id = cp.parent_id
     where cp.child_id = c.code_id and strpos(c.code, '//') > 0
    union all
    select w.code from ehrdb.aggregated_name w where w.name = lower(c.description) and strpos(c.code, '//') > 0) known
  join ehrdb.aggregated_code m on m.code = known.code
 group by c.code_id, m.rules;

comment on view ehrdb.measured_as is
'Which aggregated concept of a set of rules a code measures, by its own code or by what stands for it.';
