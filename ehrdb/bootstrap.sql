-- name: standing
-- who asks, where, and what they may do
select current_user, current_database(), e.schema, coalesce(has_schema_privilege(e.schema, 'usage'), false),
       a.name is not null,
       r.rolsuper or coalesce((not a.superuser or a.trusted) and c.may_create, false), c.may_create,
       o.owner, coalesce(pg_has_role(o.nspowner, 'usage'), true),
       r.rolsuper or r.rolcreaterole
  from pg_roles r
 cross join (select has_database_privilege(current_database(), 'create') as may_create) c
  left join (select n.nspname as schema from pg_extension x join pg_namespace n on n.oid = x.extnamespace
              where x.extname = 'vector') e on true
  left join (select v.name, v.superuser, v.trusted
               from pg_available_extension_versions v join pg_available_extensions n on n.name = v.name
              where v.name = 'vector' and v.version = n.default_version) a on true
  left join (select nspowner, nspowner::regrole::text as owner from pg_namespace where nspname = 'ehrdb') o on true
 where r.rolname = current_user;

-- name: create_extension
-- vectors, where nobody has made them yet
create extension vector schema public;

-- name: bootstrap
-- What a superuser (or the provider's administrator role) runs once, in database {database}, so that {owner}, an
-- ordinary role, can install, upgrade, dump and restore ehrdb. Harmless when run again.

-- Vectors. The extension is not trusted: an owner may not create it. It may live in any schema.
create extension if not exists vector schema {schema};

-- Schemas ehr and ehrdb are made by `ehrdb upgrade`.
grant create on database {database} to {owner};

-- Who reads, who embeds, who administers; without a login: grant them to the people's and the programs' own roles.
do $$
declare
    each_role text;
begin
    foreach each_role in array array[{analyst_name}, {worker_name}, {admin_name}] loop
        begin
            if not exists (select from pg_roles where rolname = each_role) then
                execute format('create role %I nologin', each_role);
            end if;
        exception when duplicate_object or unique_violation then
            null;  -- made for another database of this server at the same moment
        end;
    end loop;
    -- Whoever administers acts as the owner. Not where that is a superuser: they would be one too.
    if not (select rolsuper from pg_roles where rolname = {owner_name}) then
        grant {owner} to {admin};
    end if;
end
$$;

grant usage on schema {schema} to {owner}, {analyst}, {worker};
