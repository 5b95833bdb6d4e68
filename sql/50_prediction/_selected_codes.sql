create or replace function ehrdb.selected_codes(selector jsonb) returns setof integer
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with named as (
        select c.code_id, c.code
          from ehrdb.concept c
          join jsonb_array_elements_text(selector -> 'codes') as s (name)
            on c.code = s.name or (s.name like '%*' and starts_with(c.code, left(s.name, -1)))
    )
    select n.code_id from named n
    union
    select ehrdb.expanded_codes(array(select n.code from named n)) where (selector -> 'descendants')::boolean;
end;

comment on function ehrdb.selected_codes(jsonb) is
'Keys of a selector''s codes; a name that ends in * stands for all codes that start so. With all descendants, if
it says so.';
