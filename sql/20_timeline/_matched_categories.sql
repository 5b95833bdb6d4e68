create or replace function ehrdb.matched_categories(starting_at integer[] default null)
returns table (rules text, code_id integer, rule integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan  -- an array that the planner knows is looked up by its hash
as $$
begin
    return query
    with recursive start as (
        select c.code_id, c.code from ehrdb.concept c where starting_at is null or c.code_id = any (starting_at)
    ), pattern as (  -- sets of rules share most of theirs
        select distinct r.kind, r.pattern from ehrdb.category_rule r
    ), met as (
        select s.code_id, p.kind, p.pattern
          from start s join pattern p on p.kind = 'prefix' and starts_with(s.code, p.pattern)
        union all
        select s.code_id, p.kind, p.pattern
          from start s join pattern p on p.kind <> 'prefix' and s.code = p.pattern
    ), descendant (rules, rule, code_id) as (
        select r.rules, r.rule, m.code_id
          from met m
          join ehrdb.category_rule r on r.kind = 'descendant' and (r.kind, r.pattern) = (m.kind, m.pattern)
        union
        select d.rules, d.rule, cp.child_id
          from descendant d
          join ehrdb.concept_parent cp on cp.parent_id = d.code_id
    ), direct as (
        select r.rules, m.code_id, r.rule
          from met m
          join ehrdb.category_rule r on r.kind <> 'descendant' and (r.kind, r.pattern) = (m.kind, m.pattern)
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
end
$$;

comment on function ehrdb.matched_categories(integer[]) is
'Which rules of ehrdb.category_rule these codes fit (null: all), and codes through them: descendants, and what stands for them. The
first rule that a code fits says its category; one that fits none is in no row, and a condition.';
