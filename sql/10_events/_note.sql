create or replace function ehrdb.note(asked text, patients bigint[] default null, cohort bigint[] default null) returns boolean
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    -- To the server's log, where no rollback takes it back, and from where a standby or a parallel worker can write.
    if (select s.notes_functions from ehrdb.schema_state s) then
        raise log 'ehrdb audit: function=% login=% role=% patients=% cohort=%', asked, quote_ident(session_user),
            quote_ident(current_user), coalesce(patients[:100]::text, '-'), coalesce(cardinality(cohort)::text, '-');
    end if;
    return true;
end
$$;

comment on function ehrdb.note(text, bigint[], bigint[]) is
'Writes to the server''s log who asks which function about whom, where ehr.audit_functions is switched on; up to 100 ids, and
how many a cohort has. True.';
