create or replace view ehrdb.grant_fault with (security_invoker = true) as
with role as (
    select distinct w.role from ehrdb.wanted_grant w join pg_roles r on r.rolname = w.role
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
                      and to_regclass(w.object) = c.oid);

comment on view ehrdb.grant_fault is
'Where the roles'' rights differ from ehrdb.wanted_grant: what one lacks, and what it should not have.';
