-- Whoever writes about patients holds this table, and a purge waits for it. Not ehrdb.patient: vacuum locks that too.
create table ehrdb.patient_hold ();
comment on table ehrdb.patient_hold is 'Without rows: its lock keeps purges from who writes about patients (ehrdb.hold_patients).';
