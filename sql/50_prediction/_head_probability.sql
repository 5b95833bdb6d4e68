create or replace function ehrdb.head_probability(
    weights public.vector, intercept float8, slope float8, shift float8, embedding public.vector
) returns float8
language sql immutable parallel safe
begin atomic
    -- The logit is kept within +-700: beyond, exp() overflows and the probability is 0 or 1 anyway.
    select 1 / (1 + exp(least(700, greatest(-700,
        -(slope * (intercept + public.inner_product(weights, embedding)) + shift)))));
end;

comment on function ehrdb.head_probability(public.vector, float8, float8, float8, public.vector) is
'Probability that a folded linear head with its calibration gives to a vector of its encoder. Inlined into the query
that calls it.';
