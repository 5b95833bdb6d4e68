create or replace function ehrdb.is_between(value float8, name text, low float8, high float8) returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if value between low and high then
        return true;
    end if;
    raise exception using errcode = 'EH010', message = format('%s must be from %s to %s', name, low, high),
        hint = format('For example: %s => %s', name, (low + high) / 2);
end
$$;

comment on function ehrdb.is_between(float8, text, float8, float8) is 'True; EH010 for null, NaN and what is outside.';
