create or replace function ehrdb.selected_event(selector jsonb)
returns table (patient_id bigint, event_time timestamp)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select a.patient_id, a.start_time from ehrdb.admission_start a where selector ->> 'event' = 'admission'
    union all
    select a.patient_id, a.end_time from ehrdb.admission a where selector ->> 'event' = 'discharge'
    union all
    select e.patient_id, e.time
      from ehrdb.event e
     where selector ->> 'event' = 'icu' and e.visit_class = 'icu' and isfinite(e.time)
    union all
    select p.patient_id, p.death_time
      from ehrdb.patient p
     where selector ->> 'event' = 'death' and p.death_time is not null
    union all
    select c.subject_id, c.cohort_start_date::timestamp
      from (select (selector ->> 'cohort')::integer as id where selector ->> 'cohort' is not null) asked
     cross join lateral ehrdb.cohort_row(asked.id) c
    union all
    select e.patient_id, e.time
      from ehrdb.event latest  -- who has such a code; then all of theirs
      join ehrdb.event e on e.patient_id = latest.patient_id and e.code_id = latest.code_id
      left join ehrdb.unit u on u.unit_id = e.unit_id
     where latest.code_id = any (array(select ehrdb.selected_codes(selector)))
       and latest.valid_to = 'infinity'
       and isfinite(e.time)
       -- Thresholds are compared as what values are kept in: 3.9 is not above 3.9.
       and (selector #> '{value,above}' is null or e.numeric_value > (selector #>> '{value,above}')::real)
       and (selector #> '{value,at_least}' is null or e.numeric_value >= (selector #>> '{value,at_least}')::real)
       and (selector #> '{value,below}' is null or e.numeric_value < (selector #>> '{value,below}')::real)
       and (selector #> '{value,at_most}' is null or e.numeric_value <= (selector #>> '{value,at_most}')::real)
       and (selector #> '{value,unit}' is null or lower(u.unit) = lower(selector #>> '{value,unit}'))
       and (selector #> '{value,texts}' is null or lower(e.text_value) = any (array(
               select lower(t.word) from jsonb_array_elements_text(selector #> '{value,texts}') as t (word))))
       and (selector -> 'value' is null or e.numeric_value is distinct from 'NaN');
end;

comment on function ehrdb.selected_event(jsonb) is
'Moments of what a site''s task names: an admission, a discharge, the start of intensive care, death, the start of rows of
an OMOP cohort, or events with one of its codes whose value fits.';
