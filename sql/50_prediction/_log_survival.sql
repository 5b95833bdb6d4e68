create or replace function ehrdb.log_survival(hazard float8) returns float8
language sql immutable parallel safe
begin atomic
    -- Inlined. The logarithm of what is never quite nothing; null where there is no hazard.
    select ln(case when hazard < 1 then 1 - hazard when hazard = 1 then 1e-300 end);
end;

comment on function ehrdb.log_survival(float8) is 'The logarithm of the probability to outlive an interval of that hazard.';
