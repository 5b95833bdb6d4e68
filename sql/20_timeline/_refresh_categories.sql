create or replace function ehrdb.refresh_categories(new_ids integer[] default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_custom_plan  -- an array that the planner knows is looked up by its hash
as $$
begin
    with first as (
        select m.rules, m.code_id, min(m.rule) as rule from ehrdb.matched_categories(new_ids) m group by m.rules, m.code_id
    ), wanted as materialized (
        select s.rules, c.code_id, coalesce(r.category, 'conditions') as category
          from (select distinct rules from ehrdb.category_rule) s
         cross join ehrdb.concept c
          left join first on first.rules = s.rules and first.code_id = c.code_id
          left join ehrdb.category_rule r on r.rules = first.rules and r.rule = first.rule
         where new_ids is null or c.code_id = any (new_ids)
    ), gone as (
        delete from ehrdb.concept_category c
         where new_ids is null and not exists (select from wanted w where w.rules = c.rules and w.code_id = c.code_id)
    )
    insert into ehrdb.concept_category as c (rules, code_id, category)
    select w.rules, w.code_id, w.category from wanted w
        on conflict (rules, code_id) do update set category = excluded.category
     where c.category <> excluded.category;
end
$$;

comment on function ehrdb.refresh_categories(integer[]) is
'Brings the kept categories of all concepts in line with the rules, or of new ones, which nothing descends from yet; only what differs
is written.';
