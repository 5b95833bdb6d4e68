create or replace function ehrdb.parse_format(
    format text, out kind text, out is_recent boolean, out has_time boolean, out categories text[]
)
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    every constant text[] := array['demographics', 'visits', 'conditions', 'medications', 'procedures', 'labs'];
    parts text[];
    named text[];
begin
    if format = 'markdown' then
        kind := 'markdown';
        return;
    end if;
    parts := regexp_match(format, '^list_(recent|first)(_time)?((?:_no_[a-z]+)+|(?:_only_[a-z]+)+)?$');
    named := array(select m[1] from regexp_matches(parts[3], '_(?:no|only)_([a-z]+)', 'g') m);
    if parts is null or not named <@ every then
        raise exception using errcode = 'EH002', message = pg_catalog.format('unknown format %L', format),
            hint = 'See: select name, description from ehr.format;';
    end if;
    kind := 'list';
    is_recent := parts[1] = 'recent';
    has_time := parts[2] is not null;
    categories := case
        when parts[3] is null then null
        when parts[3] like '\_only\_%' then named
        else array(select c from unnest(every) c where c <> all (named))
    end;
end
$$;

comment on function ehrdb.parse_format(text) is
'What a format name says: kind (list, markdown), order, times, and the categories it keeps (null: all). EH002
for an unknown name.';
