create or replace function ehr.survival(
    task text, cohort bigint[] default null, as_of timestamp default 'infinity', encoder text default null
) returns setof ehrdb.survival
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    for_encoder_id constant integer := ehrdb.encoder_id($4);
    intervals constant text[] := array(
        select h.target from ehrdb.head h
         where h.task = $1 and h.encoder_id = for_encoder_id and h.target like replace($1, '_', '\_') || '\_day\_%');
begin
    if intervals = '{}' then
        perform ehrdb.head_of($1, for_encoder_id);
        raise exception using errcode = 'EH006', message = format('task %s is not one of survival', $1),
            hint = format('See: select ehr.predict(%L, ...);', $1);
    end if;
    return query
        select p.patient_id, i.days, exp(sum(ln(case when p.probability < 1 then 1 - p.probability
                                                          when p.probability = 1 then 1e-300 end)) over (
                   partition by p.patient_id order by i.days)), p.as_of, p.is_stale
          from ehr.predict_cohort(intervals, $2, $3, $4) p
         cross join lateral (select substring(p.task from '_(\d+)$')::integer as days) i
         order by p.patient_id, i.days;
end
$$;

comment on function ehr.survival(text, bigint[], timestamp, text) is
'How probable it is to be without the outcome until each interval''s end, for a cohort.
days: the interval''s end, counted from as_of, the moment up to which the record was known; survival: the product of
one minus the hazard of each interval up to then, null where the record as of a past moment is not embedded. EH005, EH006: unknown task, none of survival or no head; EH001, EH010 as
of ehr.predict_cohort.
Example: select days, survival from ehr.survival(''death_5y'', array[1]);';
