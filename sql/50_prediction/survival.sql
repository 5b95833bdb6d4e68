create or replace function ehr.survival(
    task text, cohort bigint[] default null, as_of timestamp default 'infinity', encoder text default null
) returns setof ehrdb.survival
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select ehrdb.note('survival', cohort => $2);
    select p.patient_id, i.days, exp(sum(ehrdb.log_survival(p.probability)) over (
               partition by p.patient_id order by i.days)), p.known_until, p.is_stale,
           exp(sum(ehrdb.log_survival(p.base_rate)) over (partition by p.patient_id order by i.days))
      from ehr.predict_cohort(ehrdb.survival_heads($1, ehrdb.encoder_id($4)), $2, $3, $4) p
     cross join lateral (select substring(p.task from '_(\d+)$')::integer as days) i
     order by p.patient_id, i.days
$$;

comment on function ehr.survival(text, bigint[], timestamp, text) is
'How probable it is to be without the outcome until each interval''s end, for a cohort.
days: the interval''s end, counted from known_until, the moment up to which the record was known; survival: the product of
one minus the hazard of each interval up to then, null where the record as of a past moment is not embedded;
base_survival: the same of all who were labelled, from each interval''s share of outcomes. EH005, EH006: unknown task, none of survival or no head; EH001, EH010 as
of ehr.predict_cohort.
Example: select days, survival from ehr.survival(''death_5y'', array[1]);';
