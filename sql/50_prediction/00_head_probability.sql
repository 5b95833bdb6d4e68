create or replace function ehrdb.head_probability(head ehrdb.head, embedding public.halfvec) returns float8
language sql immutable parallel safe
as $$
    -- The logit is kept within +-700: beyond, exp() overflows and the probability is 0 or 1 anyway.
    select 1 / (1 + exp(least(700, greatest(-700,
        -(head.calibration_slope * (head.intercept + public.inner_product(head.weights, embedding::public.vector))
          + head.calibration_shift)))))
$$;

comment on function ehrdb.head_probability(ehrdb.head, public.halfvec) is
'Probability that a folded linear head gives to a vector of its encoder. Inlined into the query that calls it.';
