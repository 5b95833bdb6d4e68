create or replace function ehrdb.time_prefix(has_time boolean, event_time timestamp, as_of timestamp) returns text
language sql stable parallel safe
begin atomic
    select case when has_time and isfinite(event_time)
        then to_char(event_time + (timestamp '2024-01-01' - date_trunc('minute', as_of)), 'YYYY-MM-DD HH24:MI:"00": ')
        else '' end;
end;

comment on function ehrdb.time_prefix(boolean, timestamp, timestamp) is
'What a line begins with in formats with times: the event''s time, shifted so that as_of is 2024-01-01.';
