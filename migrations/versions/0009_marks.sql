-- A row per patient was locked by whoever marked it or took it: a refresh and a writer could wait for each other.
-- Rows are only added now, as often as a patient is marked, and taken away by the refresh that looks.
alter table ehrdb.changed_patient drop constraint changed_patient_pkey;
create index changed_patient_by_patient on ehrdb.changed_patient (patient_id);
