create or replace function ehrdb.asked_words(words text) returns table (word text, query tsquery)
language plpgsql immutable parallel safe rows 10
set search_path = pg_catalog, pg_temp
as $$
begin
    if length(btrim(words)) between 1 and 8000 then
        -- Stems as the beginnings of words, as quoted literals: nothing that is typed is an operator.
        return query
        select min(s.lexeme),
               ('''' || replace(replace(s.stem, '\', '\\'), '''', '''''') || '''' || case when s.stem ~ '^[0-9.]+$' then '' else ':*' end)::tsquery
          from (select l as lexeme, (ts_lexize('pg_catalog.english_stem', l))[1] as stem
                  from unnest(tsvector_to_array(to_tsvector('pg_catalog.simple', translate(words, '/_', '  ')))) l) s
         where length(s.stem) > 1
         group by s.stem
         order by s.stem
         limit 50;
        return;
    end if;
    raise exception using errcode = 'EH010', message = 'words must have from 1 to 8,000 characters',
        hint = 'Describe a patient: ehr.patients_by_words(''heart failure'')';
end
$$;

comment on function ehrdb.asked_words(text) is
'The words of a description that say something (at most fifty), without English endings; EH010 for nothing or too much.';
