create or replace function ehrdb.aggregate_text(
    value float8, decimals integer, normal_low float8, normal_high float8
) returns text
language sql immutable parallel safe
begin atomic
    -- A real times 10 or 100 is exact in float8, and round() takes exact ties to even, as C's %.1f does.
    select case decimals when 0 then trunc(value)::bigint::text
                         when 1 then (round(value * 10)::bigint * 0.1)::text
                         else (round(value * 100)::bigint * 0.01)::text end
           || case when value < normal_low then ' (low)' when value > normal_high then ' (high)'
                   when normal_low is not null then ' (normal)' else '' end;
end;

comment on function ehrdb.aggregate_text(float8, integer, float8, float8) is
'An aggregated measurement with its rating; value is a real widened to float8. decimals 0 truncates.';
