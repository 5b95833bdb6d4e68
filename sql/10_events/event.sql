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

comment on column ehr.event.patient_id is 'Whose event it is.';
comment on column ehr.event.time is 'When it happened or began, local, without zone; null for facts without a time.';
comment on column ehr.event.end_time is 'When it ended; null without an end.';
comment on column ehr.event.code is 'What happened, as VOCABULARY/CODE (ehr.concept).';
comment on column ehr.event.description is 'The code in words; null where the source has none.';
comment on column ehr.event.numeric_value is 'The value as a number, in unit; null where it is none.';
comment on column ehr.event.text_value is 'The value as text, or a note; null without one.';
comment on column ehr.event.unit is 'The unit of numeric_value as the source writes it; null without one.';
comment on column ehr.event.visit_id is 'The visit it belongs to (ehr.visit); null outside visits.';
comment on column ehr.event.source_table is 'The table of the source that it comes from; null where unknown.';
comment on column ehr.event.ordinal is 'Its place in the patient''s record: breaks ties in time.';
