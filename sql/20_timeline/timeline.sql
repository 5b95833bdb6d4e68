create or replace function ehr.timeline(
    patient_id bigint, as_of timestamp default 'infinity', format text default 'list_recent',
    time_window interval default null, max_chars integer default null
) returns text
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    perform ehrdb.note('timeline', array[$1]);
    perform ehrdb.require_patient($1);
    return (select t.text from ehr.timelines(array[$1], array[$2], $3, $4, $5) t);
end
$$;

comment on function ehr.timeline(bigint, timestamp, text, interval, integer) is
'The patient''s record as text, from events at or before as_of: what an encoder reads.
EH001: unknown patient; EH002: unknown format (see ehr.format).
Example: select ehr.timeline(1);
Example: select ehr.timeline(1, ''2020-06-30 23:59'', ''list_recent_time'', time_window => ''30 days'');';
