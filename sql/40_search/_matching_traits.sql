create or replace function ehrdb.matching_traits(
    patient_ids bigint[], as_ofs timestamp[], same_sex boolean, age_band integer
) returns table (place integer, traits text)
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select a.place::integer,
           coalesce(case when same_sex then coalesce(p.sex, '?') end, '') || '/'
           || coalesce(case when age_band is not null
                            then floor(extract(year from age(seen.moment, p.birth_time)) / age_band)::text end, '')
      from unnest(patient_ids, as_ofs) with ordinality a (patient_id, moment, place)
      join ehrdb.patient p using (patient_id)
     cross join lateral (
        select max(e.time) as moment from ehrdb.event e
         where e.patient_id = p.patient_id and e.time <= a.moment) seen;
end;

comment on function ehrdb.matching_traits(bigint[], timestamp[], boolean, integer) is
'What matched patients must have in common: sex, and the age band at their last event at or before their moments.';
