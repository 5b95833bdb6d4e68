create or replace function ehrdb.to_value(text text) returns real
language sql immutable
begin atomic
    -- The plain case without a regular expression, which would take longer than all else; the rest by the full grammar.
    select case when octet_length(text) <= 30 and translate(text, '0123456789', '') in ('', '.')
                 and text not in ('', '.') then text::real
                when text !~* '\d|nan|inf' then null
                else ehrdb.to_number(text) end;
end;

comment on function ehrdb.to_value(text) is 'ehrdb.to_number, fast for plain decimals.';
