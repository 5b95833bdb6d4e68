create or replace view ehr.event with (security_invoker = true) as
select e.patient_id, nullif(e.time, '-infinity') as time, e.end_time, c.code, c.description,
       e.numeric_value, e.text_value, u.unit, e.visit_id, e.source_table, e.ordinal
  from ehrdb.event e
  join ehrdb.concept c using (code_id)
  left join ehrdb.unit u using (unit_id);

comment on view ehr.event is
'One row per recorded event; ordinal is its place in the patient''s record and breaks ties in time.
time is null for facts without a time (known always). end_time of a visit is not known before it happens.
Example: select time, numeric_value, unit from ehr.event where patient_id = 1 and code = ''LOINC/718-7'';';
