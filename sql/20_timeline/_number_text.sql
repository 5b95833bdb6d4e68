create or replace function ehrdb.number_text(x real) returns text
language sql immutable parallel safe
begin atomic
    -- A real has 24 significant bits and 100 = 25 * 2^2, so x * 100 is exact in float8, and round() there
    -- takes exact ties to even. From 2^24 on every real is an integer; beyond bigint, powers of two are
    -- divided out first, which is exact as well.
    select case
        when x = 'NaN' then 'nan'
        when x = 'Infinity' then 'inf'
        when x = '-Infinity' then '-inf'
        when abs(x) < 16777216 then
            case when x < 0 then '-' else '' end
            || trim_scale(abs(round(x::float8 * 100))::bigint * 0.01)::text
        when abs(x) < 9.2e18 then x::float8::bigint::text
        when abs(x) < 1.0e31 then ((x::float8 / 1099511627776)::bigint::numeric * 1099511627776)::text
        else ((x::float8 / 1208925819614629174706176)::bigint::numeric * 1208925819614629174706176)::text
    end;
end;

comment on function ehrdb.number_text(real) is
'A value as the paper prints it: C''s %.2f of the exact binary value, without trailing zeros. nan, inf, -inf.';
