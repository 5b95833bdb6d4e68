create or replace function ehr.unprotect() returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
set lock_timeout = '10s'  -- whoever reads is waited for, and everybody else queues behind
as $$
declare
    each_table regclass;
    freed integer := 0;
begin
    perform ehrdb.require_primary();
    for each_table in
        select p.polrelid from pg_policy p join pg_class c on c.oid = p.polrelid
         where p.polname = 'visible' and c.relnamespace = 'ehrdb'::regnamespace
    loop
        execute format('drop policy visible on %s', each_table);
        execute format('alter table %s disable row level security', each_table);
        freed := freed + 1;
    end loop;
    delete from ehrdb.protection;
    return freed;
exception when lock_not_available then
    perform ehrdb.held_up();
    return null;
end
$$;

comment on function ehr.unprotect() is
'Takes back what ehr.protect did: every reader sees every patient again.
For the owner alone. EH012: sessions hold the tables. Returns how many tables are open again.
Example: select ehr.unprotect();';
