create or replace function ehrdb.map_key(code text) returns text
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with named as (
        select coalesce((select v.vocabulary || '/' || substr(map_key.code, length(v.prefix) + 1)
                           from ehrdb.vocabulary_prefix v
                          where starts_with(map_key.code, v.prefix)
                          order by length(v.prefix) desc limit 1), map_key.code) as name
    )
    select case when n.name ~ '^ICD(9|10)CM/'
                then split_part(n.name, '/', 1) || '/'
                     || regexp_replace(upper(replace(substr(n.name, strpos(n.name, '/') + 1), '.', '')), 'X+$', '')
                else n.name end
      from named n;
end;

comment on function ehrdb.map_key(text) is
'By what a code and a row of ehrdb.code_map find each other: VOCABULARY/CODE, whatever the source begins its codes with
(ehrdb.vocabulary_prefix); codes of ICD in capitals, without dots and without an X that only fills the place at the end.';
