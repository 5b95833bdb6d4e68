create or replace function ehrdb.nearest_by_index(
    for_encoder_id integer, query public.halfvec, k integer, cohort bigint[], excluded bigint
) returns bigint[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    found bigint[];
    indexed constant integer := ehrdb.indexed_dimension(for_encoder_id);
    is_whole constant boolean := indexed = public.vector_dims(query) and indexed <= 4000;
    -- An index that holds the first dimensions or, above the 4,000 that HNSW of halfvec takes, signs alone, proposes many.
    proposal constant text := case
        when is_whole then 's.embedding::public.halfvec(%2$s) operator(public.<=>) $1::public.halfvec(%2$s) limit $4'
        when indexed <= 4000
            then 'public.subvector(s.embedding, 1, %2$s)::public.halfvec(%2$s) operator(public.<=>) public.subvector($1, 1, %2$s)::public.halfvec(%2$s)
                  limit greatest(200, 20 * $4)'
        else 'public.binary_quantize(s.embedding)::bit(%2$s) operator(public.<~>) public.binary_quantize($1)::bit(%2$s)
              limit greatest(500, 20 * $4)' end;
    -- The caller's own, put back at the end. (As settings of the function they would need pgvector loaded where the
    -- function is made, or a superuser: no ordinary owner could install or restore it.)
    ef_search constant text := coalesce(current_setting('hnsw.ef_search', true), '40');
    iterative_scan constant text := coalesce(current_setting('hnsw.iterative_scan', true), 'off');
begin
    perform set_config('hnsw.iterative_scan', 'strict_order', true),
            set_config('hnsw.ef_search', greatest(
                ef_search::integer,
                case when is_whole then ehrdb.search_width(for_encoder_id) else least(1000, greatest(500, 20 * k)) end)::text, true);
    -- Through the parent table: row-level security is its business, and a partition asked directly would not ask it.
    execute format(
        'select array_agg(hit.patient_id)
           from (select p.patient_id
                   from (select s.patient_id, s.embedding from ehrdb.patient_embedding s
                          where s.encoder_id = %1$s and ($2 is null or (s.patient_id in (select c from unnest($2) c)) is true)
                            and s.patient_id is distinct from $3
                          order by ' || proposal || ') p
                  order by p.embedding operator(public.<=>) $1, p.patient_id limit $4) hit',
        for_encoder_id, indexed)
       into found using query, cohort, excluded, k;
    perform set_config('hnsw.iterative_scan', iterative_scan, true), set_config('hnsw.ef_search', ef_search, true);
    return found;
end
$$;

comment on function ehrdb.nearest_by_index(integer, public.halfvec, integer, bigint[], bigint) is
'Asks the HNSW index; approximate, and possibly fewer than k under a filter.';
