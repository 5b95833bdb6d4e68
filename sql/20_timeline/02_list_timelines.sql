create or replace function ehrdb.list_timelines(
    patient_ids bigint[], as_ofs timestamp[], is_recent boolean, has_time boolean, categories text[], rules text,
    time_window interval
) returns table (place integer, text text)
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with point as (
        select p.place::integer, p.patient_id, p.as_of, coalesce(p.as_of - time_window, '-infinity') as since
          from unnest(patient_ids, as_ofs) with ordinality as p (patient_id, as_of, place)
         order by p.place::integer
    ), kept as (
        select p.place, p.as_of, e.patient_id, e.time, e.ordinal, e.code_id, e.unit_id, e.numeric_value, e.short_text,
               e.has_long_text
          from point p
          join ehrdb.event e on e.patient_id = p.patient_id and e.time <= p.as_of and e.valid_to > p.as_of
                            and e.time >= p.since
         where $3
        union all
        select * from (
            select distinct on (p.place, e.code_id) p.place, p.as_of, e.patient_id, e.time, e.ordinal, e.code_id,
                   e.unit_id, e.numeric_value, e.short_text, e.has_long_text
              from point p
              join ehrdb.event e on e.patient_id = p.patient_id and e.time <= p.as_of and e.time >= p.since
             where not $3
             order by p.place, e.code_id, e.time, e.ordinal) first
    )
    select s.place,
           string_agg(case when $4 and isfinite(s.time)
                           then to_char(s.time + (timestamp '2024-01-01' - date_trunc('minute', s.as_of)),
                                        'YYYY-MM-DD HH24:MI:"00": ') || s.line
                           else s.line end,
                      E'\n' order by case when $3 then s.time end desc, case when not $3 then s.time end, s.ordinal)
      from (select k.place, k.as_of, k.time, k.ordinal,
                   ehrdb.line(l.text, u.unit, k.numeric_value, case when not k.has_long_text then k.short_text
                              else (select t.text_value from ehrdb.event t
                                     where t.patient_id = k.patient_id and t.ordinal = k.ordinal) end) as line
              from kept k
             -- Looked up one by one and remembered: a join of whole tables would lose the index's order.
             cross join lateral (select l.text from ehrdb.concept_label l where l.code_id = k.code_id limit 1) l
              left join lateral (select u.unit from ehrdb.unit u where u.unit_id = k.unit_id limit 1) u
                on k.numeric_value is not null
              left join ehrdb.concept_category c on c.rules = $6 and c.code_id = k.code_id
             where $5 is null or c.category = any ($5)) s
     group by s.place;
end
$$;

comment on function ehrdb.list_timelines(bigint[], timestamp[], boolean, boolean, text[], text, interval) is
'List formats for patients at moments (parallel arrays): one event per code, the latest or the first, each a line.
No row where nothing is to be shown. Paper: list formats of the serialization study.';
