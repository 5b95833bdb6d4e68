create or replace function ehr.audit_functions(is_on boolean) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    perform ehrdb.require_primary();
    if is_on is null then
        raise exception using errcode = 'EH010', message = 'on or off is neither: null',
            hint = 'select ehr.audit_functions(true); or select ehr.audit_functions(false);';
    end if;
    update ehrdb.schema_state set notes_functions = is_on;
    return is_on;
end
$$;

comment on function ehr.audit_functions(boolean) is
'Switches the audit of SQL functions on or off, for everybody.
While it is on, every function of ehr that looks at patients writes who asks what about whom to the server''s log before it
answers: functions that only read can write nowhere else. Not what is read from tables and views, nor what is found: for
that there is pgaudit (docs/security.md). For the owner alone; kept by upgrades, and followed by standbys. Returns what was asked for.
Example: select ehr.audit_functions(true);';
