create or replace function ehrdb.prediction_moment(event_time timestamp, rule jsonb) returns timestamp
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    with moved as (
        select event_time + make_interval(secs => coalesce((rule ->> 'offset_hours')::float8, 0) * 3600) as t
    )
    select case when (rule ->> 'end_of_day')::boolean then date_trunc('day', t) + time '23:59'
                else date_trunc('minute', t + interval '59.999999 seconds') end
      from moved;
end;

comment on function ehrdb.prediction_moment(timestamp, jsonb) is
'The prediction time that belongs to an event: moved by the rule''s offset, then the end of that day (23:59) or
the next whole minute, so that the event itself is known.';
