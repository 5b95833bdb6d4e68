create or replace function ehrdb.moments(patient_ids bigint[], as_ofs timestamp[]) returns timestamp[]
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(array_agg(
               case when p.as_of = 'infinity'
                    then coalesce((select max(e.time) from ehrdb.event e where e.patient_id = p.patient_id), p.as_of)
                    else p.as_of end
               order by p.place), '{}')
      from unnest(patient_ids, as_ofs) with ordinality as p (patient_id, as_of, place);
end;

comment on function ehrdb.moments(bigint[], timestamp[]) is
'The moments meant: infinity is the time of the patient''s last event.';
