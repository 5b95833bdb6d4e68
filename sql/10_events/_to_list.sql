create or replace function ehrdb.to_list(value text) returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    -- "is json array" would say so, but not before PostgreSQL 16.
    return case when jsonb_typeof(value::jsonb) = 'array' then value::jsonb end;
exception when data_exception then
    return null;
end
$$;

comment on function ehrdb.to_list(text) is 'A text that is a JSON array, as one; null for any other.';
