create or replace function ehrdb.visit_moments(for_patient_id bigint) returns timestamp[]
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(array_agg(distinct m.moment), '{}')
      from (select greatest(max(v.time), coalesce(max(v.end_time), (
                       select max(e.time) from ehrdb.event e
                        where e.patient_id = for_patient_id and e.visit_id = v.visit_id))) as moment
              from ehrdb.event v
             where v.patient_id = for_patient_id and v.visit_class is not null and isfinite(v.time)
             group by v.visit_id, case when v.visit_id is null then v.ordinal end) m
     where isfinite(m.moment);
end;

comment on function ehrdb.visit_moments(bigint) is
'The moments after a patient''s visits: the end of each, or, where none is recorded, its last event.';
