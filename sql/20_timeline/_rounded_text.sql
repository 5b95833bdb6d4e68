create or replace function ehrdb.rounded_text(value real) returns text
language sql immutable parallel safe
begin atomic
    select case when value = 0 or not (abs(value) < 'Infinity') then ehrdb.number_text(value)
                else trim_scale(round(value::numeric, 1 - floor(log(abs(value::numeric)))::integer))::text end;
end;

comment on function ehrdb.rounded_text(real) is
'A value to two significant digits: records that are alike then have the same lines.';
