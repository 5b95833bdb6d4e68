create or replace function ehrdb.markdown_timelines(
    patient_ids bigint[], as_ofs timestamp[], rules text, has_slips boolean, time_window interval
) returns table (place integer, text text)
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with point as (
        select p.place::integer, p.patient_id, p.as_of, date_trunc('minute', p.as_of) as moment,
               coalesce(p.as_of - time_window, '-infinity') as since,
               (select e.time from ehrdb.event e where e.patient_id = p.patient_id and isfinite(e.time)
                 order by e.ordinal limit 1) as birth
          from unnest(patient_ids, as_ofs) with ordinality as p (patient_id, as_of, place)
    ), age as (
        -- The first visible event with a time (birth) becomes the age, and comes first.
        select p.place, e.ordinal, 'Patient age: ' || extract(day from p.moment - p.birth)::integer / 365 as text
          from point p
         cross join lateral (
            select e.ordinal from ehrdb.event e
             where e.patient_id = p.patient_id and e.time >= p.since and e.time <= p.as_of and isfinite(e.time)
             order by e.ordinal limit 1) e
    ), record as (
        select p.place, p.moment, e.time, e.end_time, e.code_id, e.numeric_value, e.text_value,
               case when is_age then age.text else l.text end as text, case when not is_age then u.unit end as unit,
               case when is_age then -1 else e.ordinal end as position,
               case when is_age then '' else coalesce(e.visit_id, '') end collate "C" as visit_id,
               case when is_age then age.text else c.code end as code,
               case when not is_age and (a.any_unit or u.unit is null or conversion.unit is not null)
                    then a.position end as aggregate,
               e.numeric_value::float8 * coalesce(conversion.factor, 1) + coalesce(conversion.shift, 0) as amount,
               not is_age and starts_with(c.code, 'Visit/') as is_visit
          from point p
          join ehrdb.event e on e.patient_id = p.patient_id and e.time <= p.as_of and e.time >= p.since
          join ehrdb.concept c using (code_id)
          left join age on age.place = p.place
         cross join lateral (select e.ordinal is not distinct from age.ordinal as is_age) first
          left join ehrdb.unit u using (unit_id)
          left join (select m.code, g.position, g.any_unit
                       from ehrdb.aggregated_code m
                       join ehrdb.aggregated_concept g on g.rules = m.rules and g.position = m.position
                      where m.rules = $3) a on a.code = c.code
          left join ehrdb.aggregated_unit conversion on conversion.rules = $3 and conversion.position = a.position
                                                    and conversion.unit = lower(u.unit) and not a.any_unit
          left join ehrdb.concept_label l on l.code_id = e.code_id and not (l.is_birth and $4)
         where is_age or l.text is not null or a.code is not null
    ), visit as (
        -- The last event of a visit_id says what the visit is, the first one its rank among equals.
        select distinct on (r.place, r.visit_id) r.place, r.visit_id, r.time as starts, r.end_time as ends,
               min(r.position) over (partition by r.place, r.visit_id) as first_position,
               ehrdb.visit_heading(r.text, r.time, r.end_time, r.moment) as heading
          from record r
         where r.is_visit and isfinite(r.time)
         order by r.place, r.visit_id, r.position desc
    ), listed as (
        select r.place, v.visit_id as in_visit, r.position, r.code_id, r.code, r.text, r.unit,
               coalesce(ehrdb.number_text(r.numeric_value), r.text_value) as value
          from record r
          left join visit v on v.place = r.place and v.visit_id = r.visit_id
         where r.aggregate is null and not r.is_visit and r.text is not null
    ), sectioned as (
        select l.place, l.in_visit, l.position, l.text, l.unit, l.value,
               coalesce(s.section, rest.section) as section, coalesce(s.position, rest.position) as section_position
          from listed l
          left join ehrdb.visit_section s on s.rules = $3 and s.vocabulary = split_part(l.code, '/', 1)
          left join ehrdb.visit_section rest on rest.rules = $3 and rest.vocabulary = '*'
         where l.in_visit is not null
        union all
        -- Outside visits: the age and the demographics, then everything else.
        select l.place, null, l.position, l.text, l.unit, l.value,
               case when case when $4 then l.number <= l.facts else l.position = -1 or g.category = 'demographics' end
                    then 'demographics' else 'general' end, null
          from (select n.*, case when bool_or(n.number = 3 and starts_with(n.code, 'Ethnicity'))
                                      over (partition by n.place) then 3 else 4 end as facts
                  from (select o.*, row_number() over (partition by o.place order by o.position) as number
                          from listed o where o.in_visit is null) n) l
          left join ehrdb.concept_category g on g.rules = $3 and g.code_id = l.code_id
    ), grouped as (
        select s.place, s.in_visit, s.section, min(s.section_position) as section_position, s.text,
               min(s.position) as position, (array_agg(s.unit order by s.position desc))[1] as unit,
               array_agg(s.value order by s.position desc) filter (where s.value is not null) as latest
          from sectioned s
         group by s.place, s.in_visit, s.section, s.text
    ), section as (
        select g.place, g.in_visit, g.section, min(g.section_position) as position,
               string_agg('- ' || g.text || case
                   when g.latest is null or g.in_visit is null and g.section = 'demographics' then ''
                   else coalesce(' (' || g.unit || ')', '') || ': '
                        || concat_ws(', ', g.latest[3], g.latest[2], g.latest[1]) end,
                   E'\n' order by g.position) as lines
          from grouped g
         group by g.place, g.in_visit, g.section
    ), detail as (
        select s.place, s.in_visit,
               string_agg('#### ' || s.section || E'\n\n' || s.lines, E'\n\n' order by s.position) as sections
          from section s
         where s.in_visit is not null
         group by s.place, s.in_visit
    ), visits as (
        select v.place, string_agg('- ' || v.heading, E'\n' order by v.starts desc, v.ends desc, v.first_position)
                            as summary,
               string_agg('### ' || v.heading || E'\n\n' || coalesce(d.sections, ''), E'\n\n'
                          order by v.starts desc, v.ends desc, v.first_position) as details
          from visit v
          left join detail d on d.place = v.place and d.in_visit = v.visit_id
         group by v.place
    ), measured as (
        select r.place, r.aggregate,
               string_agg(ehrdb.aggregate_text(r.value, r.decimals, r.normal_low, r.normal_high), ', '
                          order by r.recency) as values
          from (select r.place, r.aggregate, r.amount as value, c.*,
                       row_number() over (partition by r.place, r.aggregate order by r.time desc, r.position) as recency
                  from record r
                  join ehrdb.aggregated_concept c on c.rules = $3 and c.position = r.aggregate
                 where r.amount between c.low and c.high) r
         where r.recency <= 3
         group by r.place, r.aggregate
    ), measurements as (
        select m.place, string_agg(m.lines, '' order by m.position) as sections
          from (select p.place, min(c.position) as position,
                       '## ' || c.section || E'\n\n' || string_agg(
                           '- ' || c.concept || coalesce(' (' || c.unit || '): ' || m.values, ': No recent data'), E'\n'
                           order by c.position) || E'\n\n' as lines
                  from point p
                 cross join ehrdb.aggregated_concept c
                  left join measured m on m.place = p.place and m.aggregate = c.position
                 where c.rules = $3
                 group by p.place, c.section) m
         group by m.place
    )
    select p.place, case when seen.place is not null then regexp_replace(concat(
               E'\n\n# Electronic Healthcare Record\n\nCurrent time: [2024-01-01](2024-01-01)\n\n',
               E'## Patient Demographics\n\n', demographics.lines, E'\n\n', m.sections,
               E'## Past Medical Visits\n\n', v.summary, E'\n\n',
               E'## General Medical Events\n\n', general.lines, E'\n\n',
               E'## Detailed Past Medical Visits (most recent first)\n\n', v.details), E'\n{3,}', E'\n\n', 'g') end
      from point p
      left join (select distinct r.place from record r) seen on seen.place = p.place
      left join section demographics on demographics.place = p.place and demographics.section = 'demographics'
                                    and demographics.in_visit is null
      left join section general on general.place = p.place and general.section = 'general' and general.in_visit is null
      left join measurements m on m.place = p.place
      left join visits v on v.place = p.place;
end
$$;

comment on function ehrdb.markdown_timelines(bigint[], timestamp[], text, boolean, interval) is
'Markdown documents for patients at moments (parallel arrays), by the aggregated concepts and visit sections of a set
of rules. Null where nothing is visible. Paper: Markdown format with three aggregated values.';
