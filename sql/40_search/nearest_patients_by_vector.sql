create or replace function ehr.nearest_patients(
    query_vector public.vector, k integer default 10, cohort bigint[] default null, encoder text default null
) returns setof ehrdb.neighbour
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select * from ehrdb.nearest(ehrdb.encoder_id($4), $1::halfvec, $2, $3, 'infinity', null)
$$;

comment on function ehr.nearest_patients(public.vector, integer, bigint[], text) is
'The k patients most similar to a vector of the same encoder, nearest first.
Example: select * from ehr.nearest_patients(ehr.embedding(1), 5);';
