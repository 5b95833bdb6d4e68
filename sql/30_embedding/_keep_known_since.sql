-- Since when there is a record of each patient. Whoever writes events, by whatever means, keeps it here; only what differs
-- is written. Events that come are not looked for in the table: a bulk load has no indexes yet.
create or replace function ehrdb.keep_known_since() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if tg_op <> 'DELETE' then
        update ehrdb.patient p set known_since = c.time
          from (select patient_id, min(time) as time from came group by patient_id) c
         where p.patient_id = c.patient_id and (p.known_since is null or c.time < p.known_since);
    end if;
    if tg_op = 'UPDATE' then
        perform ehrdb.look_since(array(
            select g.patient_id from (select patient_id, min(time) as time from gone group by patient_id) g
             where not exists (select from came c where c.patient_id = g.patient_id and c.time <= g.time)));
    elsif tg_op = 'DELETE' then
        perform ehrdb.look_since(array(select distinct patient_id from gone));
    end if;
    return null;
end
$$;

create or replace trigger event_known_inserted after insert on ehrdb.event
    referencing new table as came for each statement execute function ehrdb.keep_known_since();
create or replace trigger event_known_updated after update on ehrdb.event
    referencing old table as gone new table as came for each statement execute function ehrdb.keep_known_since();
create or replace trigger event_known_deleted after delete on ehrdb.event
    referencing old table as gone for each statement execute function ehrdb.keep_known_since();
