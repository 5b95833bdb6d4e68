create or replace function ehrdb.nearest_by_index(
    for_encoder_id integer, query public.halfvec, k integer, cohort bigint[], excluded bigint
) returns bigint[]
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
set hnsw.ef_search = 100
set hnsw.iterative_scan = strict_order
as $$
declare
    found bigint[];
begin
    execute format(
        'select array_agg(hit.patient_id)
           from (select s.patient_id from ehrdb.%1$I s
                  where ($2 is null or s.patient_id = any ($2)) and s.patient_id is distinct from $3
                  order by s.embedding::halfvec(%2$s) <=> $1::halfvec(%2$s) limit $4) hit',
        'patient_embedding_' || for_encoder_id, vector_dims(query))
       into found using query, cohort, excluded, k;
    return found;
end
$$;

comment on function ehrdb.nearest_by_index(integer, public.halfvec, integer, bigint[], bigint) is
'Asks the HNSW index; approximate, and possibly fewer than k under a filter.';
