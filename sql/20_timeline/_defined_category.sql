create or replace view ehrdb.defined_category with (security_invoker = true) as
select s.rules, c.code_id, coalesce(r.category, 'conditions') as category
  from (select distinct rules from ehrdb.category_rule) s
 cross join ehrdb.concept c
  left join (select m.rules, m.code_id, min(m.rule) as rule from ehrdb.matched_category m group by m.rules, m.code_id) first
    on first.rules = s.rules and first.code_id = c.code_id
  left join ehrdb.category_rule r on r.rules = first.rules and r.rule = first.rule;

comment on view ehrdb.defined_category is
'The category of each code by the rules of ehrdb.category_rule; kept in ehrdb.concept_category.';
