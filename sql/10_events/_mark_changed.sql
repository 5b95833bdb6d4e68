-- Whoever writes events, by whatever means, marks the patients; one set-based statement per statement.
create or replace function ehrdb.mark_changed() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    insert into ehrdb.changed_patient (patient_id) select distinct patient_id from touched;
    return null;
end
$$;

create or replace trigger event_inserted after insert on ehrdb.event
    referencing new table as touched for each statement execute function ehrdb.mark_changed();
create or replace trigger event_updated_new after update on ehrdb.event
    referencing new table as touched for each statement execute function ehrdb.mark_changed();
create or replace trigger event_updated_old after update on ehrdb.event
    referencing old table as touched for each statement execute function ehrdb.mark_changed();
create or replace trigger event_deleted after delete on ehrdb.event
    referencing old table as touched for each statement execute function ehrdb.mark_changed();
