create or replace function ehrdb.graded_timelines(
    patient_ids bigint[], as_ofs timestamp[], categories text[], rules text, time_window interval
) returns table (place integer, text text)
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with point as (
        select p.place::integer, p.patient_id, p.as_of
          from unnest(patient_ids, as_ofs) with ordinality as p (patient_id, as_of, place)
    ), latest as materialized (
        select p.place, p.as_of, e.patient_id, e.ordinal, e.time, e.code_id, e.unit_id, e.numeric_value,
               case when not e.has_long_text then e.short_text
                    else (select t.text_value from ehrdb.event t
                           where t.patient_id = e.patient_id and t.ordinal = e.ordinal) end as text_value
          from point p
          join ehrdb.event e on e.patient_id = p.patient_id and e.time <= p.as_of and e.valid_to > p.as_of
         where $5 is null or e.time >= p.as_of - $5
    ), known as materialized (
        -- What all events of a code have in common, looked up once per code.
        select k.code_id, l.text, m.position
          from (select distinct l.code_id from latest l) k
          join ehrdb.concept_text l on l.code_id = k.code_id
          left join ehrdb.concept_category c on c.rules = $4 and c.code_id = k.code_id
          left join lateral (select m.position from ehrdb.measured_as m where m.code_id = k.code_id and m.rules = $4) m
            on true
         where $3 is null or c.category = any ($3)
    ), line as (
        select l.place, l.time, l.ordinal,
               case when a.position is not null and amount.value between a.low and a.high
                    then ehrdb.grade(amount.value, a.normal_low, a.normal_high, a.step) || ' ' || k.text
                    when l.numeric_value is not null
                    then k.text || coalesce(' (' || u.unit || '): ', ': ') || ehrdb.rounded_text(l.numeric_value)
                    else k.text || coalesce(': ' || l.text_value, '') end as text
          from latest l
          join known k on k.code_id = l.code_id
          left join ehrdb.unit u on u.unit_id = l.unit_id
          left join ehrdb.aggregated_concept a on a.rules = $4 and a.position = k.position
          left join ehrdb.aggregated_unit c on c.rules = $4 and c.position = k.position
                                           and c.unit = coalesce(lower(u.unit), '')
         cross join lateral (select l.numeric_value::float8 * c.factor + c.shift) amount (value)
    ), age as (
        -- Of the birth among the events, whatever the window.
        select p.place, 'Aged ' || a.decade || '0 to ' || a.decade || '9' as text
          from point p
         cross join lateral (
            select min(e.time) as time
              from ehrdb.event e
              join ehrdb.concept c on c.code_id = e.code_id
             where e.patient_id = p.patient_id and e.time <= p.as_of and isfinite(e.time)
               and c.code in ('SNOMED/3950001', 'MEDS_BIRTH')) birth
         cross join lateral (select extract(year from age(p.as_of, birth.time))::integer / 10 as decade) a
         where birth.time is not null and ($3 is null or 'demographics' = any ($3))
    )
    select p.place, case when l.text is not null then concat_ws(E'\n', a.text, l.text) end
      from point p
      left join (select l.place, string_agg(l.text, E'\n' order by l.time desc, l.ordinal) as text
                   from line l group by l.place) l on l.place = p.place
      left join age a on a.place = p.place;
end
$$;

comment on function ehrdb.graded_timelines(bigint[], timestamp[], text[], text, interval) is
'The graded list for patients at moments (parallel arrays): the decade of age, then the latest event of each code, a
line each; a number with a reference interval is said in words (ehrdb.grade), any other to two digits. Null where
nothing is to be shown.';
