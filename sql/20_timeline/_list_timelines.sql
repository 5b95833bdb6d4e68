create or replace function ehrdb.list_timelines(
    patient_ids bigint[], as_ofs timestamp[], is_recent boolean, has_time boolean, categories text[], rules text,
    time_window interval
) returns table (place integer, text text)
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    -- Point by point, as the index has the events in the order of the lines; texts are looked up one by one and
    -- remembered. So a large set needs no sort and no more memory than a small one.
    if is_recent then
        return query
        select p.place::integer, t.text
          from unnest(patient_ids, as_ofs) with ordinality as p (patient_id, as_of, place)
         cross join lateral (
            select string_agg(ehrdb.time_prefix($4, e.time, p.as_of) || ehrdb.line(
                       l.text, u.unit, e.numeric_value, case when not e.has_long_text then e.short_text
                       else (select t.text_value from ehrdb.event t
                              where t.patient_id = e.patient_id and t.ordinal = e.ordinal) end),
                   E'\n' order by e.time desc, e.ordinal)
              from ehrdb.event e
             cross join lateral (select l.text from ehrdb.concept_text l where l.code_id = e.code_id limit 1) l
              left join lateral (select u.unit from ehrdb.unit u where u.unit_id = e.unit_id limit 1) u
                on e.numeric_value is not null
              left join ehrdb.concept_category c on c.rules = $6 and c.code_id = e.code_id
             where e.patient_id = p.patient_id and e.time <= p.as_of and e.valid_to > p.as_of
               and ($7 is null or e.time >= p.as_of - $7) and ($5 is null or c.category = any ($5))) t (text);
    else
        return query
        select p.place::integer, t.text
          from unnest(patient_ids, as_ofs) with ordinality as p (patient_id, as_of, place)
         cross join lateral (
            select string_agg(ehrdb.time_prefix($4, e.time, p.as_of) || ehrdb.line(
                       l.text, u.unit, e.numeric_value, e.text_value), E'\n' order by e.time, e.ordinal)
              from (select distinct on (e.code_id) e.code_id, e.time, e.ordinal, e.unit_id, e.numeric_value, e.text_value
                      from ehrdb.event e
                     where e.patient_id = p.patient_id and e.time <= p.as_of
                       and ($7 is null or e.time >= p.as_of - $7)
                     order by e.code_id, e.time, e.ordinal) e
             cross join lateral (select l.text from ehrdb.concept_text l where l.code_id = e.code_id limit 1) l
              left join lateral (select u.unit from ehrdb.unit u where u.unit_id = e.unit_id limit 1) u
                on e.numeric_value is not null
              left join ehrdb.concept_category c on c.rules = $6 and c.code_id = e.code_id
             where $5 is null or c.category = any ($5)) t (text);
    end if;
end
$$;

comment on function ehrdb.list_timelines(bigint[], timestamp[], boolean, boolean, text[], text, interval) is
'List formats for patients at moments (parallel arrays): one event per code, the latest or the first, each a line.
Null where nothing is to be shown. Paper: list formats of the serialization study.';
