create or replace view ehrdb.matched_category with (security_invoker = true) as
with recursive descendant (rules, rule, code_id) as (
    select r.rules, r.rule, c.code_id
      from ehrdb.category_rule r
      join ehrdb.concept c on c.code = r.pattern
     where r.kind = 'descendant'
    union
    select d.rules, d.rule, cp.child_id
      from descendant d
      join ehrdb.concept_parent cp on cp.parent_id = d.code_id
), direct as (
    select r.rules, c.code_id, r.rule
      from ehrdb.concept c
      join ehrdb.category_rule r on r.kind = 'prefix' and starts_with(c.code, r.pattern)
                                 or r.kind = 'code' and c.code = r.pattern
    union all
    select d.rules, d.code_id, d.rule
      from descendant d
      join ehrdb.concept c on c.code_id = d.code_id and (c.vocabulary = 'SNOMED' or strpos(c.code, '//') > 0)
)
select d.rules, d.code_id, d.rule from direct d
union all
select d.rules, s.code_id, d.rule
  from direct d
  join ehrdb.stands_for s on s.standard_id = d.code_id;

comment on view ehrdb.matched_category is
'Which rules of ehrdb.category_rule a code fits; the first of them says its category. A code that fits none is in no
row here, and a condition by default.';
