create or replace function ehrdb.calibrated(
    logit float8, slope float8, shift float8, curve_at float8[], curve_value float8[]
) returns float8
language sql immutable parallel safe
begin atomic
    -- The logit is kept within +-700: beyond, exp() overflows and the probability is 0 or 1 anyway.
    select case when logit is null then null
                when curve_at is null then 1 / (1 + exp(least(700, greatest(-700, -(slope * logit + shift)))))
                else ehrdb.at_knots(logit, curve_at, curve_value) end;
end;

comment on function ehrdb.calibrated(float8, float8, float8, float8[], float8[]) is
'The probability that a head''s calibration makes of its log odds: along its curve, or without one by slope and shift.
Inlined where the log odds are a column.';
