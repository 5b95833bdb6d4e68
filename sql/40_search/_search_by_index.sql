create or replace function ehrdb.search_by_index(for_encoder_id integer, cohort_size integer) returns boolean
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(least(cohort_size, max(c.reltuples)) > ehrdb.exact_search_bound(), false)
      from pg_class c
      join pg_index i
        on i.indexrelid = to_regclass('ehrdb.patient_embedding_' || for_encoder_id || '_hnsw') and i.indisvalid
     where c.oid = to_regclass('ehrdb.patient_embedding_' || for_encoder_id);
end;

comment on function ehrdb.search_by_index(integer, integer) is
'Whether a search among that many patients (null: all) is better served by the HNSW index than by comparing all.';
