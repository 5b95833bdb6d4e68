create or replace function ehrdb.grade(
    value float8, normal_low float8, normal_high float8, step float8
) returns text
language sql immutable parallel safe
begin atomic
    select case
        when value < normal_low then ehrdb.degree((normal_low - value) / step) || 'low'
        when value > normal_high then ehrdb.degree((value - normal_high) / step) || 'high'
        when value < normal_low + 0.3 * (normal_high - normal_low) then 'low normal'
        when value > normal_high - 0.3 * (normal_high - normal_low) then 'high normal'
        else 'normal' end;
end;

comment on function ehrdb.grade(float8, float8, float8, float8) is
'A value in words: how far below or above its reference interval it lies, in steps; within, which third it is in. An
interval open on one side has a null there. Source: ours, chosen on tuning data (docs/timeline-formats.md).';
