create or replace function ehrdb.matching_traits(patient_ids bigint[], as_of timestamp, same_sex boolean, age_band integer)
returns table (patient_id bigint, traits text)
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select p.patient_id,
           coalesce(case when same_sex then coalesce(p.sex, '?') end, '') || '/'
           || coalesce(case when age_band is not null
                            then floor(extract(year from age(seen.moment, p.birth_time)) / age_band)::text end, '')
      from ehrdb.patient p
     cross join lateral (
        select max(e.time) as moment from ehrdb.event e
         where e.patient_id = p.patient_id and e.time <= matching_traits.as_of) seen
     where p.patient_id in (select c from unnest(patient_ids) c);
end;

comment on function ehrdb.matching_traits(bigint[], timestamp, boolean, integer) is
'What matched patients must have in common: sex, and the age band at their last event at or before as_of.';
