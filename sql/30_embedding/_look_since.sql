create or replace function ehrdb.look_since(patient_ids bigint[] default null) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_custom_plan  -- one patient and everybody are not looked up alike
as $$
declare
    changed bigint;
begin
    update ehrdb.patient p set known_since = n.first
      from (select k.patient_id, (select min(e.time) from ehrdb.event e where e.patient_id = k.patient_id) as first
              from unnest(coalesce(patient_ids, array(select a.patient_id from ehrdb.patient a))) k (patient_id)) n
     where n.patient_id = p.patient_id and p.known_since is distinct from n.first;
    get diagnostics changed = row_count;
    return changed;
end
$$;

comment on function ehrdb.look_since(bigint[]) is
'Looks in the records since when these patients (null: all) are known, and writes what differs; returns how many that is.';
