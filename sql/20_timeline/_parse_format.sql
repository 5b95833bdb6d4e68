create or replace function ehrdb.parse_format(wanted text, out format ehrdb.format, out categories text[])
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    every constant text[] := array['demographics', 'visits', 'conditions', 'medications', 'procedures', 'labs'];
    parts constant text[] := regexp_match(wanted, '^(.+?)((?:_no_[a-z]+)+|(?:_only_[a-z]+)+)$');
    named constant text[] := array(select m[1] from regexp_matches(parts[2], '_(?:no|only)_([a-z]+)', 'g') m);
begin
    select f.* into format from ehrdb.format f where f.name = wanted;
    if format.name is not null then
        return;
    end if;
    select f.* into format from ehrdb.format f where f.name = parts[1] and f.kind in ('list', 'graded');
    if format.name is null or not named <@ every then
        raise exception using errcode = 'EH002', message = pg_catalog.format('unknown format %L', wanted),
            hint = case when wanted ~ '^(markdown_)?(json|yaml|xml)$'
                then 'It is made from markdown outside the database: ehrdb timeline PATIENT --format ' || wanted
                else 'See: select name, description from ehr.format;' end;
    end if;
    categories := case when parts[2] like '\_only\_%' then named
                       else array(select c from unnest(every) c where c <> all (named)) end;
end
$$;

comment on function ehrdb.parse_format(text) is
'What a format name means: its row in ehrdb.format and, with _no_... or _only_... endings, the categories it keeps
(else null: all). EH002 for an unknown name.';
