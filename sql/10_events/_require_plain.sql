create or replace function ehrdb.require_plain(source regclass, is_written boolean default false) returns regclass
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if ehrdb.runs_anothers_code(source, is_written) then
        raise exception using errcode = 'EH010',
            message = format('%s %s runs its owner''s code, with the rights of %s',
                             case when is_written then 'writing to' else 'reading' end, source, session_user),
            hint = format('Its owner gives the rows as a plain table (create table ... as table %s;), or a superuser gives it to %I.',
                          source, session_user);
    end if;
    return source;
end
$$;

comment on function ehrdb.require_plain(regclass, boolean) is
'The table itself. EH010: ehrdb.runs_anothers_code.';
