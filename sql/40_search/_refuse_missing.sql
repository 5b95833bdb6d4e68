create or replace function ehrdb.refuse_missing(without bigint[], as_of timestamp) returns void
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    if cardinality(without) > 0 then
        raise exception using errcode = 'EH004',
            message = format('%s patients with a record by %s are not embedded as of then: %s', cardinality(without), as_of,
                             array_to_string(without[:3], ', ') || case when cardinality(without) > 3 then ', ...' else '' end),
            hint = format('Make a snapshot: ehrdb refresh --as-of "%s". Or leave them out of the cohort.', as_of);
    end if;
end
$$;

comment on function ehrdb.refuse_missing(bigint[], timestamp) is
'EH004 where there are patients who cannot be compared as of that moment: an answer among the others would change with the
next refresh.';
