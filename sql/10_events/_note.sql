create or replace function ehrdb.note(asked text, patients bigint[] default null, cohort bigint[] default null) returns boolean
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    -- To the server's log, where no rollback takes it back, and from where a standby or a parallel worker can write.
    if (select s.notes_functions from ehrdb.schema_state s) then
        raise log 'ehrdb audit: function=% login=% role=% patients=% cohort=%', asked, quote_ident(session_user),
            quote_ident(current_user), ehrdb.first_ids(patients), ehrdb.first_ids(cohort);
    end if;
    return true;
end
$$;

comment on function ehrdb.note(text, bigint[], bigint[]) is
'Writes to the server''s log who asks which function about whom, where ehr.audit_functions is switched on; of patients and of
a cohort what ehrdb.first_ids says. True.';
