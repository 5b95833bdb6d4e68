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
        select p.place, e.ordinal, 'Patient age: ' || extract(day from p.moment - p.birth)::integer / 365 as text,
               e.numeric_value, e.text_value
          from point p
         cross join lateral (
            select e.ordinal, e.numeric_value, e.text_value from ehrdb.event e
             where e.patient_id = p.patient_id and e.time >= p.since and e.time <= p.as_of and isfinite(e.time)
             order by e.ordinal limit 1) e
    ), known as materialized (
        -- What all events of a code have in common, looked up once per code.
        select k.code_id, c.code, l.text, min(k.code_id) over (partition by l.text) as text_id,
               a.position as aggregate, a.any_unit,
               starts_with(c.code, 'Visit/') as is_visit, coalesce(g.category = 'demographics', false) as is_demographic,
               coalesce(s.section, rest.section) as section, coalesce(s.position, rest.position) as section_position
          from (select distinct e.code_id
                  from point p
                  join ehrdb.event e on e.patient_id = p.patient_id and e.time <= p.as_of and e.time >= p.since) k
          join ehrdb.concept c on c.code_id = k.code_id
          left join ehrdb.concept_text l on l.code_id = k.code_id and not (l.is_birth and $4)
          left join ehrdb.concept_category g on g.rules = $3 and g.code_id = k.code_id
          -- Codes of MEDS (A//B) have no vocabulary, mapped ones not their own; their category stands for one.
          left join ehrdb.visit_section s on s.rules = $3
           and s.vocabulary = case when strpos(c.code, '//') = 0
                                        and not exists (select from ehrdb.stands_for m where m.code_id = c.code_id)
                                   then split_part(c.code, '/', 1)
                                   when g.category = 'medications' then 'RxNorm' when g.category = 'procedures' then 'CPT4'
                                   when g.category = 'labs' then 'LOINC' else '*' end
          left join ehrdb.visit_section rest on rest.rules = $3 and rest.vocabulary = '*'
          left join lateral (select n.position, n.any_unit
                       from ehrdb.measured_as m
                       join ehrdb.aggregated_concept n on n.rules = m.rules and n.position = m.position
                      where m.rules = $3 and m.code_id = k.code_id) a on true
         where l.text is not null or a.position is not null
    ), record as (
        select p.place, e.ordinal as position,
               -- A visit without an id is one of its own.
               coalesce(e.visit_id, case when use.is_visit and not k.is_visit then '#' || e.ordinal else '' end)
                   collate "C" as visit_id, e.time,
               -- With has_slips, as the paper has it, an end after the moment is seen, though nobody knew it.
               case when $4 or e.end_time <= p.as_of then e.end_time end as end_time,
               e.visit_class in ('inpatient', 'icu', 'emergency') as is_stay,
               k.code, k.text, k.text_id, u.unit, u.dimension, u.factor, u.shift, e.numeric_value, e.text_value,
               k.is_demographic, k.section, k.section_position,
               use.is_visit and k.text is not null and isfinite(e.time) as is_visit, k.aggregate, use.is_measured,
               not use.is_visit and not use.is_measured and k.text is not null as is_listed,
               e.numeric_value::float8 * coalesce(conversion.factor, 1) + coalesce(conversion.shift, 0) as amount
          from point p
          left join age on age.place = p.place
          join ehrdb.event e on e.patient_id = p.patient_id and e.time <= p.as_of and e.time >= p.since
                            and e.ordinal is distinct from age.ordinal
          join known k on k.code_id = e.code_id
          left join ehrdb.unit u on u.unit_id = e.unit_id
          left join ehrdb.aggregated_unit conversion on conversion.rules = $3 and conversion.position = k.aggregate
                                                    and conversion.unit = lower(u.unit) and not k.any_unit
         cross join lateral (
            select k.aggregate is not null and (k.any_unit or conversion.unit is not null) as is_measured,
                   k.is_visit or coalesce(e.visit_class <> 'icu', false) as is_visit) use
        union all
        select age.place, -1, '', null, null, null, '', age.text,
               (select min(k.text_id) from known k where k.text = age.text), null, null, null, null, age.numeric_value,
               age.text_value, true,
               rest.section, rest.position, false, null, false, true, null
          from age
          left join ehrdb.visit_section rest on rest.rules = $3 and rest.vocabulary = '*'
    ), told as (
        -- The last event of a visit_id says what the visit is, the first one its rank among equals.
        select distinct on (r.place, r.visit_id) r.place, r.visit_id, r.time as starts, r.end_time as ends, r.text, r.is_stay,
               min(r.position) over (partition by r.place, r.visit_id) as first_position
          from record r
         where r.is_visit
         order by r.place, r.visit_id, r.position desc
    ), visit as (
        select t.place, t.visit_id, t.starts, t.ends, t.first_position,
               ehrdb.visit_heading(t.text, t.starts, t.ends, p.moment,
                                   case when $4 then t.ends > p.moment
                                        else t.is_stay and t.ends is null
                                             and t.starts = max(t.starts) over (partition by t.place) end) as heading
          from told t
          join point p on p.place = t.place
    ), listed as (
        select r.*, v.first_position as in_visit
          from record r
          left join visit v on v.place = r.place and v.visit_id = r.visit_id
         where r.is_listed
    ), slip as (
        -- With has_slips, the first three or four facts outside visits pass for the demographics.
        select n.place, coalesce(max(n.position) filter (where n.number = 3 and starts_with(n.code, 'Ethnicity')),
                                 max(n.position)) as last_position
          from (select l.place, l.position, l.code, row_number() over (partition by l.place order by l.position) as number
                  from listed l
                 where $4 and l.in_visit is null) n
         where n.number <= 4
         group by n.place
    ), sectioned as (
        -- Numbers stand for visits, sections and texts, as they sort faster. Outside visits: 0 demographics, 1 general.
        select l.place, l.in_visit, l.position, l.text_id, l.text, l.section, l.unit, l.numeric_value, l.factor, l.shift,
               -- Without slips, only what measures the same stands in one line.
               case when $4 or l.numeric_value is null and l.text_value is null then ''
                    else coalesce(nullif(l.dimension, ''), l.unit, '') end as dimension,
               case when l.in_visit is not null then l.section_position
                    when case when $4 then l.position <= slip.last_position else l.is_demographic end then 0
                    else 1 end as section_position,
               coalesce(ehrdb.number_text(l.numeric_value), l.text_value) as value
          from listed l
          left join slip on slip.place = l.place
    ), converted as (
        -- All values of a line are in its latest unit.
        select s.*, case when not $4 and s.numeric_value is not null and s.unit <> last.unit
                         then ehrdb.number_text((((s.numeric_value * s.factor + s.shift) - last.shift) / last.factor)::real)
                         else s.value end as shown
          from (select s.*, first_value(s.position) over (
                           partition by s.place, s.in_visit, s.section_position, s.text_id, s.dimension
                           order by s.position desc) as last_position
                  from sectioned s) s
          join sectioned last on last.place = s.place and last.position = s.last_position
    ), grouped as (
        select s.place, s.in_visit, s.section_position, min(s.section) as section, min(s.text) as text,
               min(s.position) as position, (array_agg(s.unit order by s.position desc))[1] as unit,
               array_agg(s.shown order by s.position desc) filter (where s.shown is not null) as latest
          from converted s
         group by s.place, s.in_visit, s.section_position, s.text_id, s.dimension
    ), section as (
        select g.place, g.in_visit, g.section_position, min(g.section) as section,
               string_agg('- ' || g.text || case
                   when g.latest is null or g.in_visit is null and g.section_position = 0 then ''
                   else coalesce(' (' || g.unit || ')', '') || ': '
                        || concat_ws(', ', g.latest[3], g.latest[2], g.latest[1]) end,
                   E'\n' order by g.position) as lines
          from grouped g
         group by g.place, g.in_visit, g.section_position
    ), detail as (
        select s.place, s.in_visit,
               string_agg('#### ' || s.section || E'\n\n' || s.lines, E'\n\n' order by s.section_position) as sections
          from section s
         where s.in_visit is not null
         group by s.place, s.in_visit
    ), visits as (
        select v.place, string_agg('- ' || v.heading, E'\n' order by v.starts desc, v.ends desc, v.first_position)
                            as summary,
               string_agg('### ' || v.heading || E'\n\n' || coalesce(d.sections, ''), E'\n\n'
                          order by v.starts desc, v.ends desc, v.first_position) as details
          from visit v
          left join detail d on d.place = v.place and d.in_visit = v.first_position
         group by v.place
    ), measured as (
        select r.place, r.aggregate,
               string_agg(ehrdb.aggregate_text(r.value, r.decimals, r.normal_low, r.normal_high), ', '
                          order by r.recency) as values
          from (select r.place, r.aggregate, r.amount as value, c.*,
                       row_number() over (partition by r.place, r.aggregate order by r.time desc, r.position) as recency
                  from record r
                  join ehrdb.aggregated_concept c on c.rules = $3 and c.position = r.aggregate
                 where r.is_measured and r.amount between c.low and c.high) r
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
      left join section demographics on demographics.place = p.place and demographics.in_visit is null
                                    and demographics.section_position = 0
      left join section general on general.place = p.place and general.in_visit is null
                               and general.section_position = 1
      left join measurements m on m.place = p.place
      left join visits v on v.place = p.place;
end
$$;

comment on function ehrdb.markdown_timelines(bigint[], timestamp[], text, boolean, interval) is
'Markdown documents for patients at moments (parallel arrays), by the aggregated concepts and visit sections of a set
of rules. Null where nothing is visible. Paper: Markdown format with three aggregated values.';
