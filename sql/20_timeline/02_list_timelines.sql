create or replace function ehrdb.list_timelines(
    patient_ids bigint[], as_ofs timestamp[], is_recent boolean, has_time boolean, categories text[],
    time_window interval, max_chars integer
) returns table (place integer, text text, lines_cut integer)
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with point as (
        select p.place::integer, p.patient_id, p.as_of, coalesce(p.as_of - time_window, '-infinity') as since
          from unnest(patient_ids, as_ofs) with ordinality as p (patient_id, as_of, place)
    ), kept as (
        select point.place, point.as_of, e.*
          from point
         cross join lateral (
            select distinct on (e.code_id) e.patient_id, e.code_id, e.time, e.ordinal, e.numeric_value,
                   e.unit_id, e.has_text
              from ehrdb.event e
             where e.patient_id = point.patient_id and e.time <= point.as_of and e.time >= point.since
             order by e.code_id, e.time desc, e.ordinal) e
         where is_recent
        union all
        select point.place, point.as_of, e.*
          from point
         cross join lateral (
            select distinct on (e.code_id) e.patient_id, e.code_id, e.time, e.ordinal, e.numeric_value,
                   e.unit_id, e.has_text
              from ehrdb.event e
             where e.patient_id = point.patient_id and e.time <= point.as_of and e.time >= point.since
             order by e.code_id, e.time, e.ordinal) e
         where not is_recent
    ), line as (
        select k.place,
               case when has_time and isfinite(k.time)
                    then to_char(k.time + (timestamp '2024-01-01' - date_trunc('minute', k.as_of)),
                                 'YYYY-MM-DD HH24:MI:"00": ') else '' end
               || ehrdb.line(c.text, u.unit, k.numeric_value,
                             case when k.has_text then (select t.text_value from ehrdb.event t
                                                         where t.patient_id = k.patient_id
                                                           and t.ordinal = k.ordinal) end) as text,
               row_number() over (partition by k.place
                                  order by case when is_recent then k.time end desc,
                                           case when not is_recent then k.time end, k.ordinal) as position
          from kept k
          join ehrdb.concept_text c using (code_id)
          left join ehrdb.unit u using (unit_id)
         where categories is null
            or k.code_id in (select g.code_id from ehrdb.concept_category g where g.category = any (categories))
    ), measured as (
        select l.place, l.position, l.text,
               sum(length(l.text) + 1) over (partition by l.place order by l.position)
               - length(l.text) - 1 as starts_at
          from line l
    )
    select point.place, coalesce(shown.text, ''), coalesce(shown.lines_cut, 0)::integer
      from point
      left join (
        select m.place,
               string_agg(m.text, E'\n' order by m.position)
                   filter (where max_chars is null or m.starts_at < max_chars) as text,
               count(*) filter (where m.starts_at >= max_chars) as lines_cut
          from measured m group by m.place) shown using (place)
     order by point.place;
end;

comment on function ehrdb.list_timelines(bigint[], timestamp[], boolean, boolean, text[], interval, integer) is
'List formats for patients at moments (parallel arrays): one event per code, the latest or the first, each a
line. A line that begins after max_chars characters is cut. Paper: list formats of the serialization study.';
