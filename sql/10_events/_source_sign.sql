create or replace function ehrdb.source_sign(text text, value real) returns text
language sql immutable
begin atomic
    -- `any (array)`, not `in`: PostgreSQL writes that into a dump as something else.
    select case when value = any (array[ehrdb.to_value(p[2]), ehrdb.to_value(replace(p[2], ',', '')),
                                        ehrdb.to_value(replace(p[2], ',', '.'))])
                then case p[1] when '=<' then '<=' when '≤' then '<=' when '=>' then '>=' when '≥' then '>=' else p[1] end end
      from regexp_match(text, '^\s*(<=|>=|=<|=>|[<>=≤≥])\s*([-+]?\.?\d[\d.,]*(?:[eE][-+]?\d+)?)') p;
end;

comment on function ehrdb.source_sign(text, real) is
'The sign (<, >, <=, >=, =) in front of a number in a text, where that is this number: < for ''< 5.0 mg/L'' and 5.';
