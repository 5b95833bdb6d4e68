create or replace function ehrdb.to_time(text text) returns timestamp
language sql stable parallel safe
begin atomic
    -- All but 29 February and odd forms are cast inline; the commonest form by the simplest test.
    select case when text ~ '^(1[5-9]|2\d)\d\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8]) ([01]\d|2[0-3]):[0-5]\d:[0-5]\d$'
                then text::timestamp
                when text ~ ('^(1[5-9]|2\d)\d\d-((0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)'
                             '([ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?)?$')
                then text::timestamp
                when text is not null then ehrdb.to_unusual_time(text) end;
end;

comment on function ehrdb.to_time(text) is
'A source''s date or time (2020-01-31, 20200131, 2020-01-31 08:15:00, 2020-01-31T08:15Z) as timestamp without
zone; null where it is none, an impossible date included.';
