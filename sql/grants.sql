-- Who may do what: the roles, made where this user may, and their rights by name, anew each time.
do $$
declare
    prefix constant text := (select left(min(w.role), -length('_analyst')) from ehrdb.wanted_grant w where w.duty = 'analyst');
    owner constant regrole := (select n.nspowner from pg_namespace n where n.nspname = 'ehrdb');
    missing text[] := '{}';
    each_role text;
begin
    foreach each_role in array array[prefix || '_analyst', prefix || '_worker', prefix || '_admin'] loop
        begin
            if not exists (select from pg_roles where rolname = each_role) then
                execute format('create role %I nologin', each_role);
            end if;
        exception
            when insufficient_privilege then
                missing := missing || format('create role %I nologin;', each_role);
            when duplicate_object or unique_violation then
                null;  -- another database of this server was upgraded at the same moment
        end;
    end loop;
    -- Who administers acts as the owner; never as a superuser.
    begin
        if exists (select from pg_roles where rolname = prefix || '_admin')
           and not pg_has_role(prefix || '_admin', owner::oid, 'member')
           and not (select rolsuper from pg_roles where oid = owner) then
            execute format('grant %s to %I', owner, prefix || '_admin');
        end if;
    exception when insufficient_privilege then
        missing := missing || format('grant %s to %I;', owner, prefix || '_admin');
    end;
    if missing <> '{}' then
        raise notice 'this user may not do the following; ask a superuser, then upgrade again: %', array_to_string(missing, ' ');
    end if;
end
$$;

do $$
declare
    wanted record;
begin
    for wanted in select distinct w.role from ehrdb.wanted_grant w join pg_roles r on r.rolname = w.role loop
        execute format('revoke all on all tables in schema ehr, ehrdb from %I', wanted.role);
        execute format('revoke all on all routines in schema ehr, ehrdb from %I', wanted.role);
    end loop;
    for wanted in
        select w.* from ehrdb.wanted_grant w join pg_roles r on r.rolname = w.role order by w.role, w.object, w.privilege
    loop
        if wanted.kind = 'routine' then  -- what runs with the owner's rights is for those who are named
            execute format('revoke execute on routine %s from public', wanted.object);
        end if;
        execute format('grant %s on %s %s to %I', wanted.privilege || coalesce(' (' || wanted.columns || ')', ''),
                       wanted.kind, wanted.object, wanted.role);
    end loop;
end
$$;

select ehrdb.protect_tables();  -- tables and partitions may be new
