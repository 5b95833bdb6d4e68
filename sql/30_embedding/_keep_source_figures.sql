-- Patients and events of each source, kept by difference.
create or replace function ehrdb.keep_source_figures() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if tg_table_name = 'patient' and tg_op <> 'DELETE' then
        insert into ehrdb.figure (source, patients) select source, count(*) from came group by source;
    end if;
    if tg_table_name = 'patient' and tg_op <> 'INSERT' then
        insert into ehrdb.figure (source, patients) select source, -count(*) from gone group by source;
    end if;
    if tg_table_name = 'event' and tg_op = 'INSERT' then
        insert into ehrdb.figure (source, events)
        select p.source, sum(n.events)
          from (select patient_id, count(*) as events from came group by patient_id) n
          join ehrdb.patient p using (patient_id)
         group by p.source;
    end if;
    if tg_table_name = 'event' and tg_op = 'DELETE' then
        insert into ehrdb.figure (source, events)
        select p.source, -sum(n.events)
          from (select patient_id, count(*) as events from gone group by patient_id) n
          join ehrdb.patient p using (patient_id)
         group by p.source;
    end if;
    return null;
end
$$;

create or replace trigger figure_inserted after insert on ehrdb.patient
    referencing new table as came for each statement execute function ehrdb.keep_source_figures();
create or replace trigger figure_updated after update on ehrdb.patient
    referencing old table as gone new table as came for each statement execute function ehrdb.keep_source_figures();
create or replace trigger figure_deleted after delete on ehrdb.patient
    referencing old table as gone for each statement execute function ehrdb.keep_source_figures();
create or replace trigger figure_inserted after insert on ehrdb.event
    referencing new table as came for each statement execute function ehrdb.keep_source_figures();
create or replace trigger figure_deleted after delete on ehrdb.event
    referencing old table as gone for each statement execute function ehrdb.keep_source_figures();
