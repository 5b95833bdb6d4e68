-- name: write_rows
-- the stored rows, as a file to copy
copy (select patient_id, time, end_time, valid_to, ordinal, code_id, unit_id, numeric_value, text_value, visit_id,
             visit_class, source_table, extra
        from ehrdb.event order by patient_id, ordinal) to stdout;

-- name: bare_table
-- a table with the columns and indexes of ehrdb.event, and no triggers
create schema if not exists bench;
drop table if exists bench.event;
create table bench.event (like ehrdb.event including all);

-- name: tracked
-- the same, with dirty tracking
create trigger event_inserted after insert on bench.event
    referencing new table as touched for each statement execute function ehrdb.mark_changed();

-- name: copy_rows
-- the rows back in
copy bench.event (patient_id, time, end_time, valid_to, ordinal, code_id, unit_id, numeric_value, text_value, visit_id,
                  visit_class, source_table, extra) from stdin;

-- name: checkpoint
-- so that no run pays for the writes of the one before
checkpoint;

-- name: events
-- how many there are
select count(*) from ehrdb.event;
