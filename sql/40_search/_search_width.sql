create or replace function ehrdb.search_width(for_encoder_id integer) returns integer
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select least(1000, 200 * greatest(1, 1 + log(2, greatest(max(c.reltuples), 1)::numeric
               / case when bool_or('m=24' = any (i.reloptions)) then 1000000 else 100000 end)))::integer
      from pg_class c
      left join pg_class i on i.oid = to_regclass('ehrdb.patient_embedding_' || for_encoder_id || '_hnsw')
     where c.oid = to_regclass('ehrdb.patient_embedding_' || for_encoder_id);
end;

comment on function ehrdb.search_width(integer) is
'How many candidates a search keeps while it walks the HNSW index (hnsw.ef_search): 200 up to 100,000 vectors, or up to a million
where the index was built wide (24 links a vector), and 200 more each time that they double, as recall falls otherwise; pgvector
takes 1,000 at most.';
