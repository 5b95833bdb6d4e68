-- Kept tables ehrdb.concept_label and ehrdb.concept_category follow the views that define them.
create or replace function ehrdb.refresh_labels(code_ids integer[] default null) returns void
language sql
set search_path = pg_catalog, pg_temp
begin atomic
    with wanted as materialized (
        select t.code_id, t.text, t.is_birth
          from ehrdb.concept_text t
         where code_ids is null or t.code_id = any (code_ids)
    ), gone as (
        delete from ehrdb.concept_label l
         where (code_ids is null or l.code_id = any (code_ids))
           and not exists (select from wanted w where w.code_id = l.code_id)
    )
    insert into ehrdb.concept_label as l (code_id, text, is_birth)
    select w.code_id, w.text, w.is_birth from wanted w
        on conflict (code_id) do update set text = excluded.text, is_birth = excluded.is_birth
     where (l.text, l.is_birth) is distinct from (excluded.text, excluded.is_birth);
end;

create or replace function ehrdb.refresh_categories() returns void
language sql
set search_path = pg_catalog, pg_temp
begin atomic
    with wanted as materialized (
        select r.rules, r.code_id, r.category from ehrdb.concept_rule r
    ), gone as (
        delete from ehrdb.concept_category c
         where not exists (select from wanted w where w.rules = c.rules and w.code_id = c.code_id)
    )
    insert into ehrdb.concept_category as c (rules, code_id, category)
    select w.rules, w.code_id, w.category from wanted w
        on conflict (rules, code_id) do update set category = excluded.category
     where c.category <> excluded.category;
end;

create or replace function ehrdb.keep_touched_labels() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from touched) then
        perform ehrdb.refresh_labels(array(select t.code_id from touched t));
        perform ehrdb.refresh_categories();
    end if;
    return null;
end
$$;

create or replace function ehrdb.keep_labels() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from touched) then
        perform ehrdb.refresh_labels();
    end if;
    return null;
end
$$;

create or replace function ehrdb.keep_categories() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from touched) then
        perform ehrdb.refresh_categories();
    end if;
    return null;
end
$$;

-- One trigger per table and kind of change: only then does a statement that changed nothing cost nothing.
do $$
declare
    kept record;
begin
    for kept in
        select t.name, t.keeper, e.change, e.side
          from (values ('concept', 'keep_touched_labels'), ('custom_text', 'keep_labels'),
                       ('excluded_vocabulary', 'keep_labels'), ('concept_parent', 'keep_categories'),
                       ('category_rule', 'keep_categories')) as t (name, keeper),
               (values ('insert', 'new'), ('update', 'new'), ('delete', 'old')) as e (change, side)
         where (t.name, e.change) <> ('concept', 'delete')  -- a foreign key does that
    loop
        execute format('create or replace trigger %I after %s on ehrdb.%I referencing %s table as touched'
                       ' for each statement execute function ehrdb.%I()',
                       'keep_' || kept.change, kept.change, kept.name, kept.side, kept.keeper);
    end loop;
end
$$;

select ehrdb.refresh_labels(), ehrdb.refresh_categories();
