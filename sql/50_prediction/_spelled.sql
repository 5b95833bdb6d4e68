create or replace function ehrdb.spelled(code text, spelling text) returns text
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    -- WHO's ICD-10 stays apart: to maps it is another spelling of ICD-10-CM, whose codes are others.
    select case when spelling is distinct from 'any' then code
                else replace(case when starts_with(code, 'ICD10/') then code else ehrdb.map_key(code) end, '.', '') end;
end;

comment on function ehrdb.spelled(text, text) is
'By what a selector finds a code: itself or, in any spelling, VOCABULARY/CODE without dots, whatever a source begins it with.';
