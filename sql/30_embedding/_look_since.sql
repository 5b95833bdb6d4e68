create or replace function ehrdb.look_since(patient_ids bigint[] default null) returns bigint
language sql
set search_path = pg_catalog, pg_temp
set row_security = off
begin atomic
    with changed as (
        update ehrdb.patient p set known_since = n.first
          from (select k.patient_id, (select min(e.time) from ehrdb.event e where e.patient_id = k.patient_id) as first
                  from ehrdb.patient k where patient_ids is null or k.patient_id = any (patient_ids)) n
         where n.patient_id = p.patient_id and p.known_since is distinct from n.first
        returning 1
    )
    select count(*) from changed;
end;

comment on function ehrdb.look_since(bigint[]) is
'Looks in the records since when these patients (null: all) are known, and writes what differs; returns how many that is.';
