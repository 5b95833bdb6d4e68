-- name: pin
-- what decides how values are read and written as text, and what names mean
select set_config('DateStyle', 'ISO, MDY', %(local)s), set_config('IntervalStyle', 'postgres', %(local)s),
       set_config('TimeZone', 'UTC', %(local)s), set_config('extra_float_digits', '1', %(local)s),
       set_config('standard_conforming_strings', 'on', %(local)s),
       set_config('search_path', 'pg_catalog, pg_temp', %(local)s), set_config('row_security', 'on', %(local)s),
       -- A member of ehrdb's owner acts as the owner, whose all that is made stays; not where that is a superuser.
       set_config('role', coalesce(
           (select o.rolname::text
              from pg_catalog.pg_namespace n join pg_catalog.pg_roles o on o.oid = n.nspowner
             where n.nspname = 'ehrdb' and not o.rolsuper and o.rolname <> session_user
               and not (select s.rolsuper from pg_catalog.pg_roles s where s.rolname = session_user)
               and pg_catalog.pg_has_role(session_user, o.oid, 'member')), pg_catalog.current_setting('role')), %(local)s);

-- name: name_table
-- where a table of the site's own is
select set_config(%(setting)s, %(table)s, %(local)s);

-- name: take_role
-- go on with the rights of another role
select set_config('role', %(role)s, %(local)s);

-- name: backend_pid
-- the server process that answers
select pg_catalog.pg_backend_pid();

-- name: extension_schema
-- where the extension vector lives
select n.nspname
  from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
 where e.extname = 'vector';

-- name: pinned
-- this session's values of what has no environment variable of its own; whoever types SQL also wants short names of
-- the public schema and of the extension
select name, current_setting(name)
  from unnest(array['IntervalStyle', 'extra_float_digits', 'standard_conforming_strings']) as name
union all
select 'search_path', concat_ws(', ', 'public',
           (select quote_ident(n.nspname)
              from pg_extension e join pg_namespace n on n.oid = e.extnamespace
             where e.extname = 'vector' and n.nspname <> 'public'), 'pg_temp');

-- name: hold_patients
-- nobody is purged from here on
select ehrdb.hold_patients();

-- name: require_whole
-- from here on PostgreSQL raises where row-level security would hide rows; and the tables where it would
select set_config('row_security', 'off', true),
       array(select c.oid::regclass::text from pg_class c
              where c.relnamespace = to_regnamespace('ehrdb') and c.relkind in ('r', 'p') and not c.relispartition
                and row_security_active(c.oid)
              order by c.relname),
       current_user, pg_has_role(o.nspowner, 'usage'), o.nspowner::regrole::text
  from (select max(nspowner) as nspowner from pg_namespace where nspname = 'ehrdb') o;
