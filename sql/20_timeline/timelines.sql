create or replace function ehr.timelines(
    patient_ids bigint[], as_ofs timestamp[], format text default 'list_recent',
    time_window interval default null, max_chars integer default null
) returns table ("position" integer, patient_id bigint, as_of timestamp, text text, lines_cut integer)
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    is_noted constant boolean := ehrdb.note('timelines', $1);
    wanted constant record := ehrdb.parse_format($3);
    f constant ehrdb.format := wanted.format;
    moments constant timestamp[] := ehrdb.moments($1, $2);
begin
    perform ehrdb.require_points($1, $2, $5), ehrdb.is_span(coalesce($4, '1 day'), 'time_window');
    return query
    select t.place, $1[t.place], moments[t.place],
           case when $5 is null then t.text else left(t.text, ehrdb.visible_length(t.text, $5)) end,
           case when $5 is null then 0
                else regexp_count(substr(t.text, ehrdb.visible_length(t.text, $5) + 1), E'\n') end
      from (select made.place, coalesce(made.text, '') as text
              from ehrdb.list_timelines($1, moments, f.is_recent, f.has_time, wanted.categories, f.rules, $4) made
             where f.kind = 'list'
            union all
            select made.place, coalesce(made.text, '')
              from ehrdb.graded_timelines($1, moments, wanted.categories, f.rules, $4) made
             where f.kind = 'graded'
            union all
            select made.place, coalesce(made.text, '')
              from ehrdb.admission_timelines($1, moments, f.rules, $4) made
             where f.kind = 'admission'
            union all
            select made.place, coalesce(made.text, '')
              from ehrdb.markdown_timelines($1, moments, f.rules, f.has_slips, $4) made
             where f.kind = 'markdown') t;
end
$$;

comment on function ehr.timelines(bigint[], timestamp[], text, interval, integer) is
'Timelines of many patients at many moments: parallel arrays in, one row per position out.
Patients without visible events have an empty text. time_window: only events of that long before as_of. max_chars: lines that
begin later are cut (lines_cut). EH002: unknown format; EH007: arguments that do not fit together.
Example: select * from ehr.timelines(array[1, 1], array[''2010-01-01'', ''2020-01-01'']::timestamp[]);';
