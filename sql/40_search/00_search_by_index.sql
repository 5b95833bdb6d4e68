create or replace function ehrdb.search_by_index(for_encoder_id integer, cohort_size integer) returns boolean
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    -- Below 20,000 vectors comparing all of them is as fast as the index, and exact.
    select coalesce(least(cohort_size, max(c.reltuples)) > 20000, false)
      from pg_class c
     where c.oid = to_regclass('ehrdb.patient_embedding_' || for_encoder_id)
       and exists (select from pg_class i
                    where i.oid = to_regclass('ehrdb.patient_embedding_' || for_encoder_id || '_hnsw'));
end;

comment on function ehrdb.search_by_index(integer, integer) is
'Whether a search among that many patients (null: all) is better served by the HNSW index than by comparing all.';
