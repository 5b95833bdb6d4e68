create or replace function ehrdb.classify_concepts(code_ids integer[]) returns void
language sql
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    update ehrdb.concept_frequency f
       set is_clinical = not f.is_clinical
     where f.code_id in (select c from unnest(code_ids) c)
       and f.is_clinical <> exists (select from ehrdb.clinical_concept c where c.code_id = f.code_id);
end;

comment on function ehrdb.classify_concepts(integer[]) is
'Looks again which of these concepts are clinical; only what differs is written.';
