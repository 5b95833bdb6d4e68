-- Kept categories follow what they are made of. One trigger per kind of change: only then
-- does a statement that changed nothing cost nothing.
create or replace function ehrdb.keep_categories() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if exists (select from touched) then
        perform ehrdb.refresh_categories();
    end if;
    return null;
end
$$;

create or replace trigger keep_insert after insert on ehrdb.concept_parent
    referencing new table as touched for each statement execute function ehrdb.keep_categories();
create or replace trigger keep_update after update on ehrdb.concept_parent
    referencing new table as touched for each statement execute function ehrdb.keep_categories();
create or replace trigger keep_delete after delete on ehrdb.concept_parent
    referencing old table as touched for each statement execute function ehrdb.keep_categories();
create or replace trigger keep_insert after insert on ehrdb.category_rule
    referencing new table as touched for each statement execute function ehrdb.keep_categories();
create or replace trigger keep_update after update on ehrdb.category_rule
    referencing new table as touched for each statement execute function ehrdb.keep_categories();
create or replace trigger keep_delete after delete on ehrdb.category_rule
    referencing old table as touched for each statement execute function ehrdb.keep_categories();

select ehrdb.refresh_categories();  -- the rules may be new
