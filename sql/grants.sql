-- Who may read: members of ehr_analyst see schema ehr. Its views and functions run with the caller's
-- rights, so the role reads the tables beneath as well, and row-level security on them holds.
do $$
begin
    if not exists (select from pg_roles where rolname = 'ehr_analyst') then
        create role ehr_analyst nologin;
    end if;
exception
    when insufficient_privilege then
        raise notice 'role ehr_analyst does not exist and this user may not create it: no grants made';
    when duplicate_object or unique_violation then
        null;  -- another database of this server was upgraded at the same moment
end
$$;

do $$
begin
    if exists (select from pg_roles where rolname = 'ehr_analyst') then
        grant usage on schema ehr, ehrdb to ehr_analyst;
        grant select on all tables in schema ehr, ehrdb to ehr_analyst;
        grant execute on all routines in schema ehr to ehr_analyst;
        revoke select on ehrdb.search_request, ehrdb.purge_key, ehrdb.purged_patient from ehr_analyst;
    end if;
end
$$;
