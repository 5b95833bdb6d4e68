-- Texts and units are looked up one by one and remembered: a join of whole tables would lose the index's order.
create or replace view ehr.current_timeline with (security_invoker = true) as
select t.patient_id, coalesce(t.text, '') as text, sha256(convert_to(coalesce(t.text, ''), 'UTF8')) as text_sha256,
       t.last_event_time
  from (select e.patient_id, max(e.time) as last_event_time,
               string_agg(ehrdb.line(l.text, u.unit, e.numeric_value, case when not e.has_long_text then e.short_text
                                     else (select t.text_value from ehrdb.event t
                                            where t.patient_id = e.patient_id and t.ordinal = e.ordinal) end),
                          E'\n' order by e.time desc, e.ordinal) as text
          from ehrdb.event e
          left join lateral (select l.text from ehrdb.concept_text l where l.code_id = e.code_id limit 1) l on true
          left join lateral (select u.unit from ehrdb.unit u where u.unit_id = e.unit_id limit 1) u
            on e.numeric_value is not null
         where e.valid_to = 'infinity'
         group by e.patient_id) t;

comment on view ehr.current_timeline is
'Each patient''s current text in the default format (list_recent), its sha-256 and the time of the last event.
Example: select text from ehr.current_timeline where patient_id = 1;';

comment on column ehr.current_timeline.patient_id is 'Whose text it is.';
comment on column ehr.current_timeline.text is 'The record as text in the format list_recent.';
comment on column ehr.current_timeline.text_sha256 is 'SHA-256 of the text in UTF-8.';
comment on column ehr.current_timeline.last_event_time is 'The time of the last event.';
