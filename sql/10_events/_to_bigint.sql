create or replace function ehrdb.to_bigint(text text) returns bigint
language sql immutable parallel safe
begin atomic
    -- Not strict, or calls would not be inlined.
    select case
        when octet_length(text) > 0 and octet_length(text) < 19 and translate(text, '0123456789', '') = '' then text::bigint
        when text ~ '^\s*[+-]?\d{1,18}(\.0*)?\s*$' then trim(split_part(text, '.', 1))::bigint
        when text ~ '^\s*[+-]?\d{19}\s*$' and text::numeric between '-9223372036854775808' and '9223372036854775807'
            then text::bigint
        when text ~ '^\s*[+-]?\d{1,18}(\.\d{0,18})?[eE]\+?\d{1,2}\s*$' and text::numeric % 1 = 0
         and text::numeric between '-9223372036854775808' and '9223372036854775807'
            then text::numeric::bigint
    end;
end;

comment on function ehrdb.to_bigint(text) is
'A source''s id as bigint, also as programs write floating numbers (11.0, 1e+06); null where it is no whole number.';
