create or replace function ehrdb.nearest(
    for_encoder_id integer, query public.halfvec, k integer, cohort bigint[], as_of timestamp, excluded bigint
) returns setof ehrdb.neighbour
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    found bigint[];
begin
    perform ehrdb.is_count(k, 'k'), ehrdb.is_cohort(cohort), ehrdb.is_moment(as_of);
    if as_of <> 'infinity' then
        return query select * from ehrdb.nearest_past(for_encoder_id, query, k, cohort, as_of, excluded);
        return;
    end if;
    if ehrdb.search_by_index(for_encoder_id, cardinality(cohort)) then
        found := ehrdb.nearest_by_index(for_encoder_id, query, k, cohort, excluded);
    end if;
    -- An index scan may stop before it has met k members of the cohort; then every member is compared.
    if found is null or cardinality(found) < k then
        found := ehrdb.nearest_exact(for_encoder_id, query, k, cohort, excluded);
    end if;
    return query
    select row_number() over (order by s.embedding operator(public.<=>) query, s.patient_id)::integer,
           s.patient_id, 1 - (s.embedding operator(public.<=>) query), s.as_of, s.is_stale
      from ehrdb.served_embedding s
     where s.encoder_id = for_encoder_id and s.patient_id = any (found)
     order by 1;
end
$$;

comment on function ehrdb.nearest(integer, public.halfvec, integer, bigint[], timestamp, bigint) is
'The k members of the cohort (null: all patients) most similar to a vector, whatever way is fastest: always k
rows where the cohort has them.';
