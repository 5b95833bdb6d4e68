create or replace function ehrdb.word_query(words text) returns tsquery
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if length(btrim(words)) between 1 and 1000 then
        -- Lexemes as quoted literals: nothing that is typed is an operator.
        return (select string_agg('''' || replace(replace(l, '\', '\\'), '''', '''''') || ''':*', ' & ')::tsquery
                  from unnest(tsvector_to_array(to_tsvector('pg_catalog.simple', translate(words, '/_', '  ')))) l);
    end if;
    raise exception using errcode = 'EH010', message = 'words must have from 1 to 1,000 characters',
        hint = 'Some words of a concept, or their beginnings: ehr.search_concepts(''heart fail'')';
end
$$;

comment on function ehrdb.word_query(text) is
'Every word as the beginning of one; null where there is none (only punctuation); EH010 for nothing or too much.';
