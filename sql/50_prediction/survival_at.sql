create or replace function ehr.survival_at(
    task text, patient_ids bigint[], as_ofs timestamp[], encoder text default null
) returns table (
    "position" integer, patient_id bigint, as_of timestamp, days integer, survival float8, known_until timestamp,
    is_stale boolean, reason text, base_survival float8
)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select ehrdb.note('survival_at', $2);
    select p."position", p.patient_id, p.as_of, i.days, exp(sum(ehrdb.log_survival(p.probability)) over (
               partition by p."position" order by i.days)), p.known_until, p.is_stale, p.reason,
           exp(sum(ehrdb.log_survival(p.base_rate)) over (partition by p."position" order by i.days))
      from ehr.predict_at(ehrdb.survival_heads($1, ehrdb.encoder_id($4)), $2, $3, $4) p
     cross join lateral (select substring(p.task from '_(\d+)$')::integer as days) i
     order by p."position", i.days;
end;

comment on function ehr.survival_at(text, bigint[], timestamp[], text) is
'The probability to be without the outcome until each interval''s end, as of moments of patients'' own.
As ehr.survival: days are counted from as_of. A pair without a vector of its text has none, and reason says why. EH005, EH006:
unknown task, none of survival or no head; EH007: lists that do not fit together.
Example: select * from ehr.survival_at(''death_5y'', array[1, 2], array[''2020-01-01'', ''2021-01-01'']::timestamp[]);';
