create or replace function ehr.similarity(patient_a bigint, patient_b bigint, encoder text default null)
returns float8
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select 1 - (ehr.embedding(patient_a, 'infinity', encoder) operator(public.<=>) ehr.embedding(patient_b, 'infinity', encoder))
$$;

comment on function ehr.similarity(bigint, bigint, text) is
'Cosine similarity of two patients'' current embeddings, -1 to 1.
Example: select ehr.similarity(1, 2);';
