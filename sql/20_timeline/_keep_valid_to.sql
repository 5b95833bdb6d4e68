-- ehrdb.event.valid_to for whoever writes events without it. A bulk load computes it itself: then there is
-- nothing to do here.
create or replace function ehrdb.keep_valid_to() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if tg_op = 'INSERT' then
        if not exists (select from touched where valid_to is null) then
            return null;
        end if;
    elsif not exists (select from touched) then
        return null;
    end if;
    update ehrdb.event e
       set valid_to = computed.valid_to
      from (select c.patient_id, c.ordinal,
                   lag(c.time, 1, 'infinity') over (partition by c.patient_id, c.code_id
                                                    order by c.time desc, c.ordinal) as valid_to
              from ehrdb.event c
             where (c.patient_id, c.code_id) in (select t.patient_id, t.code_id from touched t)) computed
     where e.patient_id = computed.patient_id and e.ordinal = computed.ordinal
       and e.valid_to is distinct from computed.valid_to;
    return null;
end
$$;

create or replace trigger event_valid_to_inserted after insert on ehrdb.event
    referencing new table as touched for each statement execute function ehrdb.keep_valid_to();
create or replace trigger event_valid_to_updated_new after update on ehrdb.event
    referencing new table as touched for each statement execute function ehrdb.keep_valid_to();
create or replace trigger event_valid_to_updated_old after update on ehrdb.event
    referencing old table as touched for each statement execute function ehrdb.keep_valid_to();
create or replace trigger event_valid_to_deleted after delete on ehrdb.event
    referencing old table as touched for each statement execute function ehrdb.keep_valid_to();
