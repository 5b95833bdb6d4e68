-- In how many patients each concept occurs, by difference: of a patient's events of a concept exactly one is valid for
-- ever, so their number is that of the patients. Whoever writes events, by whatever means, adds to it here.
create or replace function ehrdb.keep_frequency() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if tg_op <> 'DELETE' then
        insert into ehrdb.concept_frequency_change (code_id, patients)
        select code_id, count(*) from came where valid_to = 'infinity' group by code_id;
    end if;
    if tg_op <> 'INSERT' then
        insert into ehrdb.concept_frequency_change (code_id, patients)
        select code_id, -count(*) from gone where valid_to = 'infinity' group by code_id;
    end if;
    return null;
end
$$;

create or replace trigger event_frequency_inserted after insert on ehrdb.event
    referencing new table as came for each statement execute function ehrdb.keep_frequency();
create or replace trigger event_frequency_updated after update on ehrdb.event
    referencing old table as gone new table as came for each statement execute function ehrdb.keep_frequency();
create or replace trigger event_frequency_deleted after delete on ehrdb.event
    referencing old table as gone for each statement execute function ehrdb.keep_frequency();
