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
    if is_on and current_setting('log_min_error_statement') not in ('fatal', 'panic') then
        raise exception using errcode = 'EH010',
            message = format('log_min_error_statement is %s: the log would quote each question, with the words of searches',
                             current_setting('log_min_error_statement')),
            hint = 'A superuser: alter system set log_min_error_statement = fatal; select pg_reload_conf();';
    end if;
    update ehrdb.schema_state set notes_functions = is_on;
    return is_on;
end
$$;

comment on function ehr.audit_functions(boolean) is
'Switches the audit of SQL functions on or off, for everybody.
While it is on, every function of ehr that looks at patients writes who asks what about whom to the server''s log before it
answers: functions that only read can write nowhere else. Not what is read from tables and views, nor what is found: for
that there is pgaudit (docs/security.md). For the owner alone; kept by upgrades, and followed by standbys. EH010: the log would
quote the questions as well. Returns what was asked for.
Example: select ehr.audit_functions(true);';
