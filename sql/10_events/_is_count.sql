create or replace function ehrdb.is_count(value integer, name text, lowest integer default 1) returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if value between lowest and 1000000 then
        return true;
    end if;
    raise exception using errcode = 'EH010', message = format('%s must be from %s to 1,000,000', name, lowest),
        hint = format('%s is a number of things: for example %s => 10', name, name);
end
$$;

comment on function ehrdb.is_count(integer, text, integer) is 'True; EH010 for what is no count.';
