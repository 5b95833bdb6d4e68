-- What was written down stays, and so do the rows that sessions wait at: who may lock them may not change them.
create or replace function ehrdb.refuse_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'EH013', message = format('rows of %I.%I are only added', tg_table_schema, tg_table_name),
        hint = 'Old rows of the audit are for its owner to move elsewhere: docs/security.md.';
end
$$;

create or replace trigger refuse_change before update or delete or truncate on ehrdb.audit
    for each statement execute function ehrdb.refuse_change();

create or replace trigger refuse_change before update or delete or truncate on ehrdb.turn
    for each statement execute function ehrdb.refuse_change();
