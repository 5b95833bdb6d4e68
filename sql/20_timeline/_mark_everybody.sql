-- Rules by which all texts of a format are made, and units: whoever changes one has everybody's text compared.
create or replace function ehrdb.mark_everybody() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    insert into ehrdb.changed_patient (patient_id) select p.patient_id from ehrdb.patient p;
    return null;
end
$$;

create or replace trigger mark_changed after insert or update or delete on ehrdb.format
    for each statement execute function ehrdb.mark_everybody();
create or replace trigger mark_changed after insert or update or delete on ehrdb.visit_section
    for each statement execute function ehrdb.mark_everybody();
create or replace trigger mark_changed after insert or update or delete on ehrdb.aggregated_concept
    for each statement execute function ehrdb.mark_everybody();
create or replace trigger mark_changed after insert or update or delete on ehrdb.aggregated_unit
    for each statement execute function ehrdb.mark_everybody();
create or replace trigger mark_changed after insert or update or delete on ehrdb.aggregated_code
    for each statement execute function ehrdb.mark_everybody();
create or replace trigger mark_changed after insert or update or delete on ehrdb.aggregated_name
    for each statement execute function ehrdb.mark_everybody();
create or replace trigger mark_changed after update of unit on ehrdb.unit
    for each statement execute function ehrdb.mark_everybody();
