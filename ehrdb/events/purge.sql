-- name: unknown
-- the first of these patients that is not here
select id from unnest(%(patient_ids)s::bigint[]) id
 where not exists (select from ehrdb.patient p where p.patient_id = id) order by id limit 1;

-- name: wait_to_purge
-- until nobody writes about patients what was read before
select ehrdb.wait_to_purge();

-- name: bar_return
-- who was purged does not come back with the next load, nor with one that began while this waited
insert into ehrdb.purged_patient (patient_hash, purged_at)
select ehrdb.patient_hash(id), clock_timestamp() from unnest(%(patient_ids)s::bigint[]) id
    on conflict (patient_hash) do update set purged_at = excluded.purged_at;

-- name: purge_patients
-- everything of these patients
select ehrdb.purge_patients(%(patient_ids)s::bigint[]);

-- name: forget_statistics
-- statistics quote rows that are gone
select ehrdb.forget_statistics();

-- name: patient_tables
-- every table with a patient_id
select c.relname from pg_class c where c.oid in (select ehrdb.patient_tables()) order by c.relname;
