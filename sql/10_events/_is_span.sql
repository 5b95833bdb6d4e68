create or replace function ehrdb.is_span(value interval, name text) returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if value > interval '0' and value <= interval '1000 years' then
        return true;
    end if;
    raise exception using errcode = 'EH010', message = format('%s must be longer than nothing and at most 1,000 years', name),
        hint = format('For example: %s => ''30 days''', name);
end
$$;

comment on function ehrdb.is_span(interval, text) is 'True; EH010 for null, nothing, less than nothing, or for ever.';
