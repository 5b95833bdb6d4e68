create or replace function ehrdb.bounded(
    logit float8, slope float8, shift float8, curve_at float8[], curve_value float8[], bounds_at float8[], bounds float8[],
    side integer
) returns float8
language sql immutable parallel safe
begin atomic
    select case when logit is null or bounds_at is null then null
                when side < 0 then least(ehrdb.calibrated(logit, slope, shift, curve_at, curve_value),
                                         ehrdb.at_knots(logit, bounds_at, bounds))
                else greatest(ehrdb.calibrated(logit, slope, shift, curve_at, curve_value),
                              ehrdb.at_knots(logit, bounds_at, bounds)) end;
end;

comment on function ehrdb.bounded(float8, float8, float8, float8[], float8[], float8[], float8[], integer) is
'The lower (side -1) or upper (1) bound of a calibrated probability, which lies within; null where the head has none.';
