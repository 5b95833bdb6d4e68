create or replace view ehr.load_report with (security_invoker = true) as
select r.load_id, r.loaded_at, r.source, r.source_table, r.rows_read, r.rows_loaded, r.rows_unmapped,
       r.rows_rejected, r.reasons, r.kind
  from ehrdb.load_report r;

comment on view ehr.load_report is
'What became of each source table''s rows at each load: read, loaded, unmapped (no concept), rejected and why.
Example: select * from ehr.load_report where load_id = (select max(load_id) from ehr.load_report);';

comment on column ehr.load_report.load_id is 'Which load, in the order of loads.';
comment on column ehr.load_report.loaded_at is 'When it was loaded.';
comment on column ehr.load_report.source is 'The name of the source.';
comment on column ehr.load_report.source_table is 'The table of the source, or of what kind figures are.';
comment on column ehr.load_report.rows_read is 'Rows that were read.';
comment on column ehr.load_report.rows_loaded is 'Rows that became events or patients.';
comment on column ehr.load_report.rows_unmapped is 'Rows without a concept.';
comment on column ehr.load_report.rows_rejected is 'Rows that could not be used.';
comment on column ehr.load_report.reasons is 'Why rows were not used: reason and number, as JSON.';
comment on column ehr.load_report.kind is
'table: a table of the source; figures: what all events hold (reasons: figure and number); rules: events whose category a
format''s rules know; not read: what else stands in the source; unread patients: whose rows are as at the load before.';
