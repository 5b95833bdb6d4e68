create or replace function ehrdb.followed_up(
    patient_ids bigint[], as_ofs timestamp[], outcome text, horizon interval
) returns table (place integer, has_outcome boolean, is_known boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    is_task constant boolean := exists (select from ehrdb.task t where t.task = followed_up.outcome);
    codes constant integer[] := array(select * from ehrdb.expanded_codes(array[outcome]));
begin
    if not is_task and codes = '{}' then
        raise exception using errcode = 'EH005', message = format('%L is neither a task nor a code', outcome),
            hint = 'See: select task from ehr.task; select code, description from ehr.concept;';
    end if;
    return query
    select a.place::integer,
           case when is_task then exists (
                    select from ehr.label l
                     where l.task = outcome and l.patient_id = a.patient_id and l.value > 0
                       and l.prediction_time > a.moment and l.prediction_time <= a.moment + horizon)
                else exists (
                    select from ehrdb.event e
                     where e.patient_id = a.patient_id and e.code_id = any (codes)
                       and e.time > a.moment and e.time <= a.moment + horizon) end,
           exists (select from ehrdb.event e where e.patient_id = a.patient_id and e.time >= a.moment + horizon)
           or coalesce(p.death_time between a.moment and a.moment + horizon, false)
      from unnest(patient_ids, as_ofs) with ordinality a (patient_id, moment, place)
      join ehrdb.patient p using (patient_id);
end
$$;

comment on function ehrdb.followed_up(bigint[], timestamp[], text, interval) is
'Of patients as of moments (parallel lists): had they the outcome (a task or a code) within the horizon after it, and does their
record reach its end, or death? EH005: no such outcome.';
