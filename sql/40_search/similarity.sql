create or replace function ehr.similarity(
    patient_a bigint, patient_b bigint, encoder text default null, weights jsonb default null
) returns float8
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select ehrdb.note('similarity', array[$1, $2]);
    select case when weights is null
        then 1 - (ehr.embedding(patient_a, 'infinity', encoder) operator(public.<=>) ehr.embedding(patient_b, 'infinity', encoder))
        else (select sum(s.contribution) from ehr.similarity_by_part(patient_a, patient_b, 'infinity', encoder, weights) s) end
$$;

comment on function ehr.similarity(bigint, bigint, text, jsonb) is
'Cosine similarity of two patients'' current embeddings, -1 to 1.
weights: of a concatenation, by part, 1 unless given, at most a million; a part counts with its weight in the inner product.
ehr.similarity_by_part says what each part adds. Null: they have nothing in the parts that count. EH001, EH003, EH004 as of
ehr.embedding; EH010: a weight of no part, or below 0.
Example: select ehr.similarity(1, 2), ehr.similarity(1, 2, ''meme'', weights => ''{"labs": 2, "visits": 0}'');';
