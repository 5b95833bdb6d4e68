create or replace function ehrdb.to_unusual_time(text text) returns timestamp
language sql immutable parallel safe strict
begin atomic
    -- Checked by hand because a failing cast would end the load without naming the row. A zone is not
    -- applied: records keep the local time that the source wrote (but see ehrdb.to_local_time).
    select case
        when year >= 1 and month between 1 and 12
         and day between 1 and extract(day from make_date(year, month, 1) + interval '1 month - 1 day')
         and coalesce(p[8]::int, 0) < 24 and coalesce(p[9]::int, 0) < 60 and coalesce(p[10]::float8, 0) < 60
        then make_timestamp(year, month, day, coalesce(p[8]::int, 0), coalesce(p[9]::int, 0), coalesce(p[10]::float8, 0))
    end
      from regexp_match(text, '^\s*(\d{4})(?:-(\d\d?)-(\d\d?)|/(\d\d?)/(\d\d?)|(\d\d)(\d\d))'
                              '(?:[ T](\d\d?):(\d\d)(?::(\d\d(?:\.\d+)?))?(?: ?(?:Z|UTC|[+-]\d\d(?::?\d\d)?))?)?\s*$') p
     cross join lateral (select p[1]::int as year, coalesce(p[2], p[4], p[6])::int as month,
                                coalesce(p[3], p[5], p[7])::int as day) d;
end;

comment on function ehrdb.to_unusual_time(text) is
'ehrdb.to_time for all that is not plain: every form (2020-1-31, 2020/01/31 8:15 UTC), every day of the month.';
