create or replace view ehrdb.grant_fault with (security_invoker = true) as
with role as (
    select distinct w.role from ehrdb.wanted_grant w join pg_roles r on r.rolname = w.role
), acl as (  -- each column named and of a type, so that a view out of a dump reads the same
    select 'table'::text as kind, c.oid::regclass::text as object, null::text as columns, c.relacl as rights
      from pg_class c
     where c.relnamespace in (to_regnamespace('ehrdb'), to_regnamespace('ehr')) and c.relkind in ('r', 'p', 'v', 'm', 'S')
    union all
    select 'table'::text as kind, c.oid::regclass::text as object, a.attname::text as columns, a.attacl as rights
      from pg_class c join pg_attribute a on a.attrelid = c.oid
     where c.relnamespace in (to_regnamespace('ehrdb'), to_regnamespace('ehr')) and a.attacl is not null
    union all
    -- What runs with the owner's rights is for those who are named.
    select 'routine'::text as kind, p.oid::regprocedure::text as object, null::text as columns,
           coalesce(p.proacl, acldefault('f', p.proowner)) as rights
      from pg_proc p
     where p.pronamespace = to_regnamespace('ehrdb') and p.prosecdef
    union all
    select 'schema'::text as kind, quote_ident(n.nspname) as object, null::text as columns, n.nspacl as rights
      from pg_namespace n where n.nspname in ('ehrdb', 'ehr')
), privilege (privilege) as (
    values ('select'), ('insert'), ('update'), ('delete'), ('truncate'), ('references'), ('trigger')
)
select w.role, 'lacks' as fault,
       w.privilege || coalesce(' (' || w.columns || ')', '') || ' on ' || case when w.kind <> 'table' then w.kind || ' ' else '' end || w.object as what
  from ehrdb.wanted_grant w
  join role r on r.role = w.role
 where not case w.kind
               when 'schema' then has_schema_privilege(w.role, w.object, w.privilege)
               when 'routine' then has_function_privilege(w.role, w.object, w.privilege)
               else has_table_privilege(w.role, w.object, w.privilege)
                    or (select bool_and(has_column_privilege(w.role, w.object, c.name, w.privilege))
                          from string_to_table(w.columns, ', ') c (name)) is true end
union all
select r.role, 'should not have', p.privilege || ' on ' || c.oid::regclass
  from role r
 cross join privilege p
  join pg_class c on c.relnamespace in (to_regnamespace('ehrdb'), to_regnamespace('ehr')) and c.relkind in ('r', 'p', 'v', 'm', 'S')
 where has_table_privilege(r.role, c.oid, p.privilege)
   and not exists (select from ehrdb.wanted_grant w
                    where w.role = r.role and w.kind = 'table' and w.columns is null and w.privilege = p.privilege
                      and to_regclass(w.object) = c.oid)
union all
-- Of everybody, any right; of a role, one on columns, which the right on a table does not tell.
select coalesce(r.role, 'public'), 'should not have',
       lower(x.privilege_type) || coalesce(' (' || quote_ident(a.columns) || ')', '') || ' on '
       || case when a.kind <> 'table' then a.kind || ' ' else '' end || a.object
  from acl a
 cross join lateral aclexplode(a.rights) x
  left join role r on to_regrole(quote_ident(r.role)) = x.grantee
 where x.grantee = 0
    or (r.role is not null and (a.columns is not null or a.kind <> 'table')
        and not exists (select from ehrdb.wanted_grant w
                         where w.role = r.role and w.kind = a.kind and w.privilege = lower(x.privilege_type)
                           and case a.kind when 'table' then to_regclass(w.object) = to_regclass(a.object)
                                                             and a.columns = any (string_to_array(w.columns, ', '))
                                    when 'routine' then to_regprocedure(w.object) = to_regprocedure(a.object)
                                    else w.object = a.object end));

comment on view ehrdb.grant_fault is
'Where the roles'' rights differ from ehrdb.wanted_grant: what one lacks, and what it
should not have; and what everybody (public) has.';
