create or replace function ehrdb.to_value(text text) returns real
language sql immutable
as $$
    -- The plain case without a function call; everything else by the full grammar.
    select case when text ~ '^-?[1-9]\d{0,14}(\.\d{1,15})?$' then text::real
                when text !~* '\d|nan|inf' then null
                else ehrdb.to_number(text) end
$$;

comment on function ehrdb.to_value(text) is 'ehrdb.to_number, fast for plain decimals.';
