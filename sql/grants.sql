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

-- Where the roles are called otherwise than before, the former ones have nothing here any more.
do $$
declare
    former constant text := (select s.roles from ehrdb.schema_state s where s.roles <> current_setting('ehrdb.roles'));
    each_role text;
begin
    for each_role in
        select r.rolname from pg_roles r where r.rolname in (former || '_analyst', former || '_worker')
    loop
        execute format('revoke all on all tables in schema ehr, ehrdb from %I', each_role);
        execute format('revoke all on all routines in schema ehr, ehrdb from %I', each_role);
        execute format('revoke all on schema ehr, ehrdb from %I', each_role);
    end loop;
    if exists (select from pg_roles where rolname = former || '_admin') then
        raise notice 'if no other database needs it: revoke % from %;',
            (select n.nspowner::regrole from pg_namespace n where n.nspname = 'ehrdb'), quote_ident(former || '_admin');
    end if;
end
$$;

do $$
declare
    each_fault record;
begin
    for each_fault in select f.role, f.what from ehrdb.grant_fault f where f.fault <> 'lacks' loop
        -- `public` is no role, and no name that would be quoted.
        execute format('revoke %s from %I', each_fault.what, each_fault.role);
        if each_fault.what not like 'execute on routine %' then  -- that, a new function gives to everybody
            raise notice 'taken back from %: %', each_fault.role, each_fault.what;
        end if;
    end loop;
    -- After what is too much: the right on a table takes those on its columns along.
    for each_fault in select f.role, f.what from ehrdb.grant_fault f where f.fault = 'lacks' loop
        execute format('grant %s to %I', each_fault.what, each_fault.role);
    end loop;
    for each_fault in select f.role, f.what from ehrdb.grant_fault f loop
        raise notice 'still wrong, for who granted it to mend: % and %', each_fault.role, each_fault.what;
    end loop;
end
$$;

select ehrdb.protect_tables();  -- tables and partitions may be new
