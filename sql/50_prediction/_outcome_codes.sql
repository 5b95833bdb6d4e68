create or replace function ehrdb.outcome_codes(rule jsonb) returns setof integer
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select ehrdb.expanded_codes(array(select jsonb_array_elements_text(rule -> 'codes'))) where rule -> 'codes' is not null
    union
    select ehrdb.selected_codes(rule -> 'outcome') where rule #> '{outcome,codes}' is not null;
end;

comment on function ehrdb.outcome_codes(jsonb) is
'Keys of the codes that a task''s outcome is looked for by, those below them included; none where it is no matter of codes.';
