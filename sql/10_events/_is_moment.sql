create or replace function ehrdb.is_moment(as_of timestamp) returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if as_of in ('infinity', '-infinity') or as_of between '0001-01-01' and '9999-12-31 23:59:59.999999' then
        return true;
    end if;
    raise exception using errcode = 'EH010', message = 'as_of must be a moment between the years 1 and 9999, or infinity',
        hint = 'Leave as_of out for all that is known; for example: as_of => ''2020-01-01''';
end
$$;

comment on function ehrdb.is_moment(timestamp) is 'True; EH010 for null and for years that no record has.';
