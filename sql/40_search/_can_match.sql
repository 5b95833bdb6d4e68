create or replace function ehrdb.can_match(ratio integer, caliper float8, age_band integer) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select ehrdb.is_count(ratio, 'ratio') and ehrdb.is_between(coalesce(caliper, 0), 'caliper', 0, 2)
       and ehrdb.is_count(coalesce(age_band, 1), 'age_band');
end;

comment on function ehrdb.can_match(integer, float8, integer) is 'True; EH010 for terms that no match can have.';
