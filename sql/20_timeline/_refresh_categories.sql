create or replace function ehrdb.refresh_categories() returns void
language sql
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    with wanted as materialized (
        select d.rules, d.code_id, d.category from ehrdb.defined_category d
    ), gone as (
        delete from ehrdb.concept_category c
         where not exists (select from wanted w where w.rules = c.rules and w.code_id = c.code_id)
    )
    insert into ehrdb.concept_category as c (rules, code_id, category)
    select w.rules, w.code_id, w.category from wanted w
        on conflict (rules, code_id) do update set category = excluded.category
     where c.category <> excluded.category;
end;

comment on function ehrdb.refresh_categories() is
'Brings the kept categories of all concepts in line with ehrdb.defined_category; only what differs is written.';
