create or replace function ehrdb.labels_radiology_findings(rule jsonb)
returns table (patient_id bigint, prediction_time timestamp, value integer)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select r.patient_id, date_trunc('minute', r.time - interval '24 hours'), r.findings
      from ehrdb.radiology_report r
     where r.time - interval '24 hours' > (
               select e.time from ehrdb.event e
                where e.patient_id = r.patient_id and isfinite(e.time) order by e.ordinal limit 1)
     order by r.patient_id, r.time;
end;

comment on function ehrdb.labels_radiology_findings(jsonb) is
'24 hours before each report: its 14 findings as bits, No Finding the most significant (chexpert).';
