create or replace function ehrdb.to_unusual_time(text text) returns timestamp
language sql immutable parallel safe strict
begin atomic
    -- Checked by hand because a failing cast would end the load without naming the row. A zone is not
    -- applied: records keep the local time that the source wrote.
    select case
        when p is not null and p[1]::int >= 1 and p[2]::int between 1 and 12
         and p[3]::int between 1 and extract(day from make_date(p[1]::int, p[2]::int, 1) + interval '1 month - 1 day')
         and coalesce(p[4]::int, 0) < 24 and coalesce(p[5]::int, 0) < 60 and coalesce(p[6]::float8, 0) < 60
        then make_timestamp(p[1]::int, p[2]::int, p[3]::int, coalesce(p[4]::int, 0), coalesce(p[5]::int, 0),
                            coalesce(p[6]::float8, 0))
    end
      from regexp_match(text, '^\s*(\d{4})-?(\d\d)-?(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d(?:\.\d+)?))?(?:Z|[+-]\d\d(?::?\d\d)?)?)?\s*$') p;
end;

comment on function ehrdb.to_unusual_time(text) is
'ehrdb.to_time for all that is not plain: every form, every day of the month.';
