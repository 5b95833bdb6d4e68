create or replace function ehrdb.strip(text text) returns text
language sql immutable parallel safe strict
set search_path = pg_catalog, pg_temp
as $$
    -- Text, as a bound body would keep the characters themselves, which a dump in text would not survive everywhere.
    select btrim(text, U&'\0009\000A\000B\000C\000D\001C\001D\001E\001F\0020\0085\00A0\1680\2000\2001\2002\2003\2004\2005\2006\2007\2008\2009\200A\2028\2029\202F\205F\3000')
$$;

comment on function ehrdb.strip(text) is
'Without leading and trailing white space as Unicode and Python''s str.strip() define it.';
