create or replace view ehrdb.defined_category with (security_invoker = true) as
with recursive descendant (rules, rule, code_id) as (
    select r.rules, r.rule, c.code_id
      from ehrdb.category_rule r
      join ehrdb.concept c on c.code = r.pattern
     where r.kind = 'descendant'
    union
    select d.rules, d.rule, cp.child_id
      from descendant d
      join ehrdb.concept_parent cp on cp.parent_id = d.code_id
), matched as (
    select r.rules, c.code_id, r.rule
      from ehrdb.concept c
      join ehrdb.category_rule r on r.kind = 'prefix' and starts_with(c.code, r.pattern)
                                 or r.kind = 'code' and c.code = r.pattern
    union all
    select d.rules, d.code_id, d.rule
      from descendant d
      join ehrdb.concept c on c.code_id = d.code_id and c.vocabulary = 'SNOMED'
)
select s.rules, c.code_id, coalesce(r.category, 'conditions') as category
  from (select distinct rules from ehrdb.category_rule) s
 cross join ehrdb.concept c
  left join (select m.rules, m.code_id, min(m.rule) as rule from matched m group by m.rules, m.code_id) first
    on first.rules = s.rules and first.code_id = c.code_id
  left join ehrdb.category_rule r on r.rules = first.rules and r.rule = first.rule;

comment on view ehrdb.defined_category is
'The category of each code by the rules of ehrdb.category_rule; kept in ehrdb.concept_category.';
