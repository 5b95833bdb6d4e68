-- Who has a concept that is now called or sorted otherwise, by whatever means, is marked: their texts may have changed.
create or replace function ehrdb.mark_retold() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if exists (select from touched) then
        insert into ehrdb.changed_patient (patient_id)
        select distinct e.patient_id
          from (select distinct t.code_id from touched t) t
          join ehrdb.event e on e.code_id = t.code_id and e.valid_to = 'infinity';
    end if;
    return null;
end
$$;

-- What differs is all that is written to these two.
create or replace trigger mark_inserted after insert on ehrdb.concept_text
    referencing new table as touched for each statement execute function ehrdb.mark_retold();
create or replace trigger mark_updated after update on ehrdb.concept_text
    referencing new table as touched for each statement execute function ehrdb.mark_retold();
create or replace trigger mark_deleted after delete on ehrdb.concept_text
    referencing old table as touched for each statement execute function ehrdb.mark_retold();
create or replace trigger mark_inserted after insert on ehrdb.concept_category
    referencing new table as touched for each statement execute function ehrdb.mark_retold();
create or replace trigger mark_updated after update on ehrdb.concept_category
    referencing new table as touched for each statement execute function ehrdb.mark_retold();
create or replace trigger mark_deleted after delete on ehrdb.concept_category
    referencing old table as touched for each statement execute function ehrdb.mark_retold();
