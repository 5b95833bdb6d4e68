-- Below PostgreSQL 18 the primary key, which begins with the encoder, finds no patient: a purge would read every vector.
create index patient_embedding_by_patient on ehrdb.patient_embedding (patient_id);
