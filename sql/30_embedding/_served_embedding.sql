create or replace view ehrdb.served_embedding with (security_invoker = true) as
select s.*, s.is_outdated
            or exists (select from ehrdb.changed_patient m where m.patient_id = s.patient_id) as is_stale
  from (select s.encoder_id, s.patient_id, s.as_of, s.content_sha256, s.embedding,
               coalesce(c.content_sha256 <> s.content_sha256, false)
               or (n.kind <> 'model'
                   and (select g.is_stale from ehrdb.record_goes_on(s.patient_id, s.as_of, 'infinity') g)) as is_outdated
          from ehrdb.patient_embedding s
          join ehrdb.encoder n using (encoder_id)
          left join ehrdb.embedding_point c
            on c.encoder_id = s.encoder_id and c.prompt_id = n.prompt_id and c.patient_id = s.patient_id
           and c.is_current) s;

comment on view ehrdb.served_embedding is
'Vectors that searches and predictions see. is_outdated: the patient''s text has changed since the vector was made; for
vectors that no model here makes, the record goes on after them. is_stale: that, or an event has changed and nobody
has looked since.';
