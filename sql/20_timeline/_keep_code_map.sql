-- What a map says holds at once, whoever writes it. One trigger per kind of change: only then
-- does a statement that changed nothing cost nothing.
create or replace function ehrdb.keep_code_map() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if exists (select from touched) then
        if tg_table_name = 'vocabulary_prefix' then
            update ehrdb.code_map m set key = m.key where m.key <> ehrdb.map_key(m.code);
        end if;
        perform ehrdb.apply_code_map();
    end if;
    return null;
end
$$;

create or replace trigger keep_insert after insert on ehrdb.code_map
    referencing new table as touched for each statement execute function ehrdb.keep_code_map();
create or replace trigger keep_update after update on ehrdb.code_map
    referencing new table as touched for each statement execute function ehrdb.keep_code_map();
create or replace trigger keep_delete after delete on ehrdb.code_map
    referencing old table as touched for each statement execute function ehrdb.keep_code_map();
create or replace trigger keep_insert after insert on ehrdb.vocabulary_prefix
    referencing new table as touched for each statement execute function ehrdb.keep_code_map();
create or replace trigger keep_update after update on ehrdb.vocabulary_prefix
    referencing new table as touched for each statement execute function ehrdb.keep_code_map();
create or replace trigger keep_delete after delete on ehrdb.vocabulary_prefix
    referencing old table as touched for each statement execute function ehrdb.keep_code_map();
