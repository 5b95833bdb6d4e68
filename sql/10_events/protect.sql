create or replace function ehr.protect(visible regclass) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set lock_timeout = '10s'  -- whoever reads is waited for, and everybody else queues behind
as $$
declare
    reader text;
begin
    perform ehrdb.require_primary();
    if not exists (select from pg_attribute a
                    where a.attrelid = visible and a.attname = 'patient_id' and a.atttypid = 'bigint'::regtype) then
        raise exception using errcode = 'EH010', message = 'ehr.protect needs a table or view with a column patient_id bigint',
            hint = 'For example: create view site.visible with (security_barrier) as'
                   ' select patient_id from site.access where reader = current_user;';
    end if;
    -- What only filters tells a function in somebody's query of every row, before it is filtered out.
    if exists (select from pg_class c where c.oid = visible and c.relkind in ('r', 'p') and not c.relrowsecurity) then
        raise exception using errcode = 'EH010', message = format('%s shows everybody the same patients', visible),
            hint = 'Name a view that asks for current_user, or give the table row-level security of its own.';
    elsif visible::oid = any (ehrdb.leaking_views(array[visible])) then
        raise exception using errcode = 'EH010', message = format('%s is no barrier: functions see the rows that it leaves out', visible),
            hint = format('alter view %s set (security_barrier);', visible);
    end if;
    for reader in
        select distinct w.role from ehrdb.wanted_grant w join pg_roles r on r.rolname = w.role
         where w.duty = 'analyst' and (not has_table_privilege(w.role, visible, 'select')
            or not has_schema_privilege(w.role, (select c.relnamespace from pg_class c where c.oid = visible), 'usage'))
    loop
        raise exception using errcode = 'EH010', message = format('%s may not read %s', reader, visible),
            hint = format('grant usage on schema %s to %I; grant select on %s to %2$I;',
                          (select c.relnamespace::regnamespace from pg_class c where c.oid = visible), reader, visible);
    end loop;
    perform ehr.unprotect();
    insert into ehrdb.protection (visible)
    select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.oid = protect.visible;
    return ehrdb.protect_tables();
exception when lock_not_available then
    perform ehrdb.held_up();
    return null;
end
$$;

comment on function ehr.protect(regclass) is
'Row-level security in one call.
From now on a reader sees a patient in every table, view and function only if the patient is in `visible`, a table or
view of the site with a column patient_id bigint that shows each reader their own patients (current_user is who asks); a
view needs security_barrier, a table row-level security of its own.
New tables and partitions follow. Whoever owns ehrdb, and roles with BYPASSRLS, see everybody: refreshes and loads run
as one of these. For the owner alone. Returns how many tables are protected.
Example: select ehr.protect(''hospital.visible_patient'');';
