create or replace function ehrdb.head_logit(weights public.vector, intercept float8, embedding public.vector) returns float8
language sql immutable parallel safe
begin atomic
    select intercept + public.inner_product(weights, embedding);
end;

comment on function ehrdb.head_logit(public.vector, float8, public.vector) is
'Log odds, not yet calibrated, that a folded linear head gives to a vector of its encoder. Inlined into the query that calls
it.';
