create or replace function ehrdb.to_local_time(text text, time_zone text) returns text
language sql stable parallel safe
begin atomic
    select case when octet_length(text) > 16 and text ~ ':\d\d(\.\d+)? ?(Z|UTC|[+-]\d\d(:?\d\d)?)\s*$'
                then (select to_char((ehrdb.to_unusual_time(text) - make_interval(
                                 hours => coalesce(p[1] || p[2], '0')::int, mins => coalesce(p[1] || p[3], '0')::int))
                             at time zone 'UTC' at time zone time_zone, 'YYYY-MM-DD HH24:MI:SS.US')
                        from regexp_match(text, '(?:Z|UTC|([+-])(\d\d):?(\d\d)?)\s*$') p)
                else text end;
end;

comment on function ehrdb.to_local_time(text, text) is
'A source''s time that says its offset from UTC, as the clock of a time zone shows it; others as they are.';
