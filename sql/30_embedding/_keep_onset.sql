-- How many patients had a concept by the end of each month, by difference: at any moment exactly one of a patient's events
-- of a concept is valid, from its time until valid_to. Whoever writes events, by whatever means, adds to it here.
create or replace function ehrdb.keep_onset() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if tg_op <> 'DELETE' then
        insert into ehrdb.concept_onset_change (code_id, month, patients)
        select m.code_id, v.month, sum(v.patients)
          from (select code_id, date_trunc('month', time)::date as start, date_trunc('month', valid_to)::date as finish
                  from came offset 0) m
         cross join lateral (values (m.start, 1), (m.finish, -1)) v (month, patients)
         where m.start <> m.finish and v.month < 'infinity'
         group by m.code_id, v.month
        having sum(v.patients) <> 0;
    end if;
    if tg_op <> 'INSERT' then
        insert into ehrdb.concept_onset_change (code_id, month, patients)
        select m.code_id, v.month, -sum(v.patients)
          from (select code_id, date_trunc('month', time)::date as start, date_trunc('month', valid_to)::date as finish
                  from gone offset 0) m
         cross join lateral (values (m.start, 1), (m.finish, -1)) v (month, patients)
         where m.start <> m.finish and v.month < 'infinity'
         group by m.code_id, v.month
        having sum(v.patients) <> 0;
    end if;
    return null;
end
$$;

create or replace trigger event_onset_inserted after insert on ehrdb.event
    referencing new table as came for each statement execute function ehrdb.keep_onset();
create or replace trigger event_onset_updated after update on ehrdb.event
    referencing old table as gone new table as came for each statement execute function ehrdb.keep_onset();
create or replace trigger event_onset_deleted after delete on ehrdb.event
    referencing old table as gone for each statement execute function ehrdb.keep_onset();
