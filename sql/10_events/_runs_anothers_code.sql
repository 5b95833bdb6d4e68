create or replace function ehrdb.runs_anothers_code(source regclass) returns boolean
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    -- A view, and a policy of a table, call functions with the rights of who reads: the owner of ehrdb, say.
    select exists (
        select from pg_class c
         cross join pg_namespace n
          join pg_roles r on r.rolname = current_user
         where c.oid = source and n.nspname = 'ehrdb' and (c.relkind in ('v', 'f') or c.relrowsecurity)
           and (pg_has_role(current_user, n.nspowner, 'usage') or r.rolbypassrls)
           and not pg_has_role(c.relowner, n.nspowner, 'usage'));
end;

comment on function ehrdb.runs_anothers_code(regclass) is
'Whether reading this would run, with the rights of ehrdb''s owner or of who sees everybody, what somebody without them wrote.';
