-- name: patients
-- as many as asked for
insert into ehrdb.patient (patient_id, source, fingerprint)
select i, 'bench', '' from generate_series(1, %(patients)s) i;

-- name: copy
-- vectors as a refresh leaves them
copy ehrdb.patient_embedding (encoder_id, patient_id, as_of, content_sha256, embedding) from stdin (format binary);

-- name: settle
-- rows that ehr.embedding reads, and statistics
insert into ehrdb.embedding (encoder_id, content_sha256, token_count, is_truncated, embedding)
select encoder_id, content_sha256, 1, false, embedding from ehrdb.patient_embedding where encoder_id = %(encoder_id)s;
insert into ehrdb.embedding_point (encoder_id, prompt_id, patient_id, as_of, is_current, content_sha256)
select s.encoder_id, n.prompt_id, s.patient_id, s.as_of, true, s.content_sha256
  from ehrdb.patient_embedding s join ehrdb.encoder n using (encoder_id) where s.encoder_id = %(encoder_id)s;

-- name: nearest
-- ours
select patient_id from ehr.nearest_patients(%(patient_id)s, 10, %(cohort)s::bigint[], encoder => %(encoder)s) order by rank;

-- name: nearest_by_vector
-- ours, with the vector at hand as the hand-written query has it
select patient_id from ehr.nearest_patients(%(vector)b::vector, 11, %(cohort)s::bigint[], %(encoder)s) order by rank;

-- name: sizes
-- of the table and its index, where there is one
select pg_table_size('ehrdb.patient_embedding_' || %(encoder_id)s),
       coalesce(pg_relation_size(to_regclass('ehrdb.patient_embedding_' || %(encoder_id)s || '_hnsw')), 0);

-- name: change
-- another vector of a patient
update ehrdb.patient_embedding set embedding = %(vector)b where encoder_id = %(encoder_id)s and patient_id = %(patient_id)s;
