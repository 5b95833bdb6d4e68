create or replace function ehr.timelines(
    patient_ids bigint[], as_ofs timestamp[], format text default 'list_recent',
    time_window interval default null, max_chars integer default null
) returns table ("position" integer, patient_id bigint, as_of timestamp, text text, lines_cut integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    parsed record := ehrdb.parse_format($3);
    moments timestamp[] := ehrdb.moments($1, $2);
begin
    if parsed.kind = 'list' then
        return query
        select t.place, $1[t.place], moments[t.place], t.text, t.lines_cut
          from ehrdb.list_timelines($1, moments, parsed.is_recent, parsed.has_time, parsed.categories, $4, $5) t;
    else
        return query
        select t.place, $1[t.place], moments[t.place], t.text, 0
          from ehrdb.markdown_timelines($1, moments, $4) t;
    end if;
end
$$;

comment on function ehr.timelines(bigint[], timestamp[], text, interval, integer) is
'Timelines of many patients at many moments: parallel arrays in, one row per position out. Patients without
visible events have an empty text. time_window: only events of that long before as_of. max_chars: lines that
begin later are cut (lines_cut). EH002: unknown format.
Example: select * from ehr.timelines(array[1, 1], array[''2010-01-01'', ''2020-01-01'']::timestamp[]);';
