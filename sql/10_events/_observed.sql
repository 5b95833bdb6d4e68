create or replace function ehrdb.observed()
returns table (patient_id bigint, first_day date, last_day date)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    source constant regclass := ehrdb.site_table('observation_period_table');
begin
    if source is null then
        return query
            select e.patient_id, min(e.time)::date, max(e.time)::date
              from ehrdb.event e
              join ehrdb.patient p using (patient_id)
             where isfinite(e.time) and e.time is distinct from p.birth_time
             group by e.patient_id;
    else
        return query execute format(
            'select o.person_id::bigint, o.observation_period_start_date::date, o.observation_period_end_date::date
               from %s o', source);
    end if;
end
$$;

comment on function ehrdb.observed() is
'From when to when patients are observed: the rows of the OMOP table that the setting ehrdb.observation_period_table
names; unset, from the first event after birth to the last one.';
