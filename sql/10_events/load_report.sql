create or replace view ehr.load_report with (security_invoker = true) as
select r.load_id, r.loaded_at, r.source, r.source_table, r.rows_read, r.rows_loaded, r.rows_unmapped,
       r.rows_rejected, r.reasons
  from ehrdb.load_report r;

comment on view ehr.load_report is
'What became of each source table''s rows at each load: read, loaded, unmapped (no concept), rejected and why.
Example: select * from ehr.load_report where load_id = (select max(load_id) from ehr.load_report);';
