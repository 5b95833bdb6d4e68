create or replace function ehrdb.patient_hash(patient_id bigint) returns bytea
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select sha256(k.key || int8send(patient_id)) from ehrdb.purge_key k
$$;

comment on function ehrdb.patient_hash(bigint) is
'What is kept of a purged patient: a keyed hash of the id, by which a later load leaves the patient out.';
