create or replace function ehrdb.leaking_views(views regclass[]) returns oid[]
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select array(select c.oid
                   from pg_class c
                  where c.oid = any (views) and c.relkind = 'v'
                    and not exists (select from pg_options_to_table(c.reloptions) o
                                     where o.option_name = 'security_barrier' and o.option_value::boolean));
end;

comment on function ehrdb.leaking_views(regclass[]) is
'Those of the views that are no security barrier: a function in a reader''s query may see the rows that they leave out.';
