-- name: pin
-- what decides how values are read and written as text, and what names mean
select set_config('DateStyle', 'ISO, MDY', %(local)s), set_config('IntervalStyle', 'postgres', %(local)s),
       set_config('TimeZone', 'UTC', %(local)s), set_config('extra_float_digits', '1', %(local)s),
       set_config('standard_conforming_strings', 'on', %(local)s),
       set_config('search_path', concat_ws(', ', 'public',
           (select pg_catalog.quote_ident(n.nspname)
              from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
             where e.extname = 'vector' and n.nspname <> 'public'), 'pg_temp'), %(local)s);

-- name: backend_pid
-- the server process that answers
select pg_catalog.pg_backend_pid();

-- name: extension_schema
-- where the extension vector lives
select n.nspname
  from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
 where e.extname = 'vector';

-- name: pinned
-- this session's values of what has no environment variable of its own
select name, current_setting(name)
  from unnest(array['IntervalStyle', 'extra_float_digits', 'standard_conforming_strings', 'search_path']) as name;
