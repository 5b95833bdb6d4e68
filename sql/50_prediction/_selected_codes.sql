create or replace function ehrdb.selected_codes(selector jsonb) returns setof integer
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with asked as (
        select ehrdb.spelled(s.name, selector ->> 'spelling') as name
          from jsonb_array_elements_text(selector -> 'codes') as s (name)
    ), exempt as (
        select ehrdb.spelled(s.name, selector ->> 'spelling') as name
          from jsonb_array_elements_text(selector -> 'except') as s (name)
    ), known as (
        select c.code_id, c.code, ehrdb.spelled(c.code, selector ->> 'spelling') as name from ehrdb.concept c
    ), named as (
        select k.code_id, k.code
          from known k
          join asked a on k.name = a.name or (a.name like '%*' and starts_with(k.name, left(a.name, -1)))
         where not exists (select from exempt x where x.name = k.name)
    )
    select n.code_id from named n
    union
    select ehrdb.expanded_codes(array(select n.code from named n)) where selector ->> 'descendants' = 'true'
    union
    select f.code_id from ehrdb.stands_for f join named n on n.code_id = f.standard_id
     where selector ->> 'descendants' = 'mapped';
end;

comment on function ehrdb.selected_codes(jsonb) is
'Keys of a selector''s codes, but its exceptions; a name that ends in * stands for all codes that start so. With all
descendants, or those that a map says to be one of them, if it says so.';
