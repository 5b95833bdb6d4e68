create or replace function ehrdb.to_time(text text) returns timestamp
language sql stable parallel safe
as $$
    -- Most times are plain; those are cast inline, at the speed of a cast.
    select case when text ~ '^(1[5-9]|2\d)\d\d-\d\d-\d\d([ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?)?$'
                 and pg_input_is_valid(text, 'timestamp') then text::timestamp
                when text is not null then ehrdb.to_unusual_time(text) end
$$;

comment on function ehrdb.to_time(text) is
'A source''s date or time (2020-01-31, 20200131, 2020-01-31 08:15:00, 2020-01-31T08:15Z) as timestamp without
zone; null where it is none, an impossible date included.';
