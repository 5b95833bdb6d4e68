-- Kept texts follow what they are made of. One trigger per kind of change: only then
-- does a statement that changed nothing cost nothing.
create or replace function ehrdb.keep_texts() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if exists (select from touched) then
        perform ehrdb.refresh_texts();
    end if;
    return null;
end
$$;

create or replace trigger keep_insert after insert on ehrdb.custom_text
    referencing new table as touched for each statement execute function ehrdb.keep_texts();
create or replace trigger keep_update after update on ehrdb.custom_text
    referencing new table as touched for each statement execute function ehrdb.keep_texts();
create or replace trigger keep_delete after delete on ehrdb.custom_text
    referencing old table as touched for each statement execute function ehrdb.keep_texts();
create or replace trigger keep_insert after insert on ehrdb.excluded_vocabulary
    referencing new table as touched for each statement execute function ehrdb.keep_texts();
create or replace trigger keep_update after update on ehrdb.excluded_vocabulary
    referencing new table as touched for each statement execute function ehrdb.keep_texts();
create or replace trigger keep_delete after delete on ehrdb.excluded_vocabulary
    referencing old table as touched for each statement execute function ehrdb.keep_texts();

select ehrdb.refresh_texts();  -- the rules may be new
