create or replace view ehr.current_timeline with (security_invoker = true) as
select k.patient_id,
       coalesce(string_agg(ehrdb.line(c.text, u.unit, k.numeric_value, t.text_value), E'\n'
                           order by k.time desc, k.ordinal) filter (where c.code_id is not null), '') as text,
       sha256(convert_to(coalesce(
           string_agg(ehrdb.line(c.text, u.unit, k.numeric_value, t.text_value), E'\n'
                      order by k.time desc, k.ordinal) filter (where c.code_id is not null), ''), 'UTF8'))
           as text_sha256,
       max(k.time) as last_event_time
  from (select distinct on (e.patient_id, e.code_id)
               e.patient_id, e.code_id, e.time, e.ordinal, e.numeric_value, e.unit_id, e.has_text
          from ehrdb.event e
         order by e.patient_id, e.code_id, e.time desc, e.ordinal) k
  left join ehrdb.concept_text c using (code_id)
  left join ehrdb.unit u using (unit_id)
  left join ehrdb.event t on k.has_text and t.patient_id = k.patient_id and t.ordinal = k.ordinal
 group by k.patient_id;

comment on view ehr.current_timeline is
'Each patient''s current text in the default format (list_recent), its sha-256 and the time of the last event.
Example: select text from ehr.current_timeline where patient_id = 1;';
