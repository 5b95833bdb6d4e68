create or replace function ehrdb.head_logit(
    weights public.vector, intercept float8, embedding public.vector,
    head_id integer, count_bins integer[], age_weight float8, patient_id bigint, moment timestamp
) returns float8
language sql stable parallel safe
begin atomic
    select intercept + public.inner_product(weights, embedding)
           + coalesce(ehrdb.count_logit(head_id, count_bins, age_weight, patient_id, moment), 0);
end;

comment on function ehrdb.head_logit(
    public.vector, float8, public.vector, integer, integer[], float8, bigint, timestamp) is
'Log odds, not yet calibrated, that a head gives to a patient as of a moment: of the vector by its folded weights, and of the
record where the head counts codes. Inlined into the query that calls it.';
