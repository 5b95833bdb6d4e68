create or replace view ehrdb.measured_as with (security_invoker = true) as
select c.code_id, m.rules, min(m.position) as position
  from ehrdb.concept c
 cross join lateral (
    select c.code
    union all
    select standard.code
      from ehrdb.stands_for f
      join ehrdb.concept standard on standard.code_id = f.standard_id
     where f.code_id = c.code_id
    union all
    select w.code from ehrdb.aggregated_name w where w.name = lower(c.description) and strpos(c.code, '//') > 0) known
  join ehrdb.aggregated_code m on m.code = known.code
 group by c.code_id, m.rules;

comment on view ehrdb.measured_as is
'Which aggregated concept of a set of rules a code measures, by its own code, by the standard code that it stands for, or by a
name of MEDS.';
