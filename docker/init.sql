-- Run once by the database image, as its superuser, in the new database. `ehrdb upgrade` does everything else, as the
-- role ehrdb, which is no superuser.
\set ON_ERROR_STOP on
\set password `cat /run/secrets/ehrdb_password`
create role ehrdb login password :'password';

-- What a superuser (or the provider's administrator role) runs once, in database "ehrdb", so that "ehrdb", an
-- ordinary role, can install, upgrade, dump and restore ehrdb. Harmless when run again.

-- Vectors. The extension is not trusted: an owner may not create it. It may live in any schema.
create extension if not exists vector schema "public";

-- Schemas ehr and ehrdb are made by `ehrdb upgrade`.
grant create on database "ehrdb" to "ehrdb";

-- Who reads, who embeds, who administers; without a login: grant them to the people's and the programs' own roles.
do $$
declare
    each_role text;
begin
    foreach each_role in array array['ehr_analyst', 'ehr_worker', 'ehr_admin'] loop
        begin
            if not exists (select from pg_roles where rolname = each_role) then
                execute format('create role %I nologin', each_role);
            end if;
        exception when duplicate_object or unique_violation then
            null;  -- made for another database of this server at the same moment
        end;
    end loop;
    -- Whoever administers acts as the owner. Not where that is a superuser: they would be one too.
    if not (select rolsuper from pg_roles where rolname = 'ehrdb') then
        grant "ehrdb" to "ehr_admin";
    end if;
end
$$;

grant usage on schema "public" to "ehrdb", "ehr_analyst", "ehr_worker";

-- Every night at two: ask for all patients to be checked; the worker embeds what changed. Run by the server's own
-- background worker as role ehrdb, so that nobody has to log in. Until ehrdb is installed, the job finds nothing to
-- call and reports that in cron.job_run_details.
create extension if not exists pg_cron;
grant usage on schema cron to ehrdb;
set role ehrdb;
select cron.schedule('ehrdb-refresh', '0 2 * * *', 'select ehr.request_refresh()');
