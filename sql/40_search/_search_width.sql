create or replace function ehrdb.search_width(for_encoder_id integer) returns integer
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select least(1000, 200 * greatest(1, 1 + log(2, greatest(max(c.reltuples), 1)::numeric / 100000)))::integer
      from pg_class c
     where c.oid = to_regclass('ehrdb.patient_embedding_' || for_encoder_id);
end;

comment on function ehrdb.search_width(integer) is
'How many candidates a search keeps while it walks the HNSW index (hnsw.ef_search): 200 up to 100,000 vectors, and 200 more
each time that they double, as recall falls otherwise; pgvector takes 1,000 at most.';
