-- New and changed concepts get their standard codes, texts and categories; a foreign key takes those of deleted ones away.
create or replace function ehrdb.keep_touched_concepts() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if exists (select from touched) then
        if tg_op = 'INSERT' then
            -- A map that changes meanwhile would miss these codes, and they the map.
            lock table ehrdb.code_map in row exclusive mode;
            if exists (select from ehrdb.code_map) then  -- seconds of tens of thousands of codes
                perform ehrdb.apply_code_map(array(select t.code_id from touched t));
            end if;
        end if;
        perform ehrdb.refresh_texts(array(select t.code_id from touched t));
        -- Nothing descends from a new code; with another name or vocabulary one may say what others are.
        perform ehrdb.refresh_categories(case when tg_op = 'INSERT' then array(select t.code_id from touched t) end);
    end if;
    return null;
end
$$;

create or replace trigger keep_insert after insert on ehrdb.concept
    referencing new table as touched for each statement execute function ehrdb.keep_touched_concepts();
create or replace trigger keep_update after update on ehrdb.concept
    referencing new table as touched for each statement execute function ehrdb.keep_touched_concepts();
