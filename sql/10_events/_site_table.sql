create or replace function ehrdb.site_table(setting text, otherwise text default null) returns regclass
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    name constant text := coalesce(nullif(current_setting('ehrdb.' || setting, true), ''), otherwise);
begin
    if name is not null and not exists (select from pg_class c where c.oid = to_regclass(name)) then
        raise exception using errcode = 'EH010', message = format('there is no table %s', name),
            hint = format('Name the one that there is: EHRDB_%s=schema.table; in SQL: set ehrdb.%s = ''schema.table'';',
                          upper(setting), setting);
    end if;
    return ehrdb.require_plain(to_regclass(name));
exception when invalid_name or syntax_error or feature_not_supported then
    raise exception using errcode = 'EH010', message = format('ehrdb.%s is no name of a table', setting),
        hint = format('For example: set ehrdb.%s = ''results.cohort'';', setting);
end
$$;

comment on function ehrdb.site_table(text, text) is
'A table of the site''s own, outside ehrdb, that the setting ehrdb.SETTING of the session, role or database names; null
where nothing does. EH010: there is no such table, or reading it runs its owner''s code.';
