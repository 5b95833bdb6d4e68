-- Which concepts are clinical follows their categories and the vocabularies that are left out.
create or replace function ehrdb.keep_clinical() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if tg_table_name = 'concept_category' then
        perform ehrdb.classify_concepts(array(select t.code_id from touched t));
    else
        perform ehrdb.classify_concepts(array(select f.code_id from ehrdb.concept_frequency f));
    end if;
    return null;
end
$$;

create or replace trigger clinical_inserted after insert on ehrdb.concept_category
    referencing new table as touched for each statement execute function ehrdb.keep_clinical();
create or replace trigger clinical_updated after update on ehrdb.concept_category
    referencing new table as touched for each statement execute function ehrdb.keep_clinical();
create or replace trigger clinical_deleted after delete on ehrdb.concept_category
    referencing old table as touched for each statement execute function ehrdb.keep_clinical();
create or replace trigger clinical_changed after insert or update or delete on ehrdb.excluded_vocabulary
    for each statement execute function ehrdb.keep_clinical();
