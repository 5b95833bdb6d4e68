-- A load reads those patients alone whose rows are others than at the last one: a digest of all their rows, whatever the
-- tables, is kept of each patient who was loaded; and one of the vocabulary and the settings that rows were read with.
create table ehrdb.source_patient (
    source     text not null,
    patient_id bigint not null,
    digest     bytea not null,
    primary key (source, patient_id)
);

alter table ehrdb.source add column rules bytea;
