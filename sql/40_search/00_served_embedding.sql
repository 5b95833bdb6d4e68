create or replace view ehrdb.served_embedding with (security_invoker = true) as
select s.encoder_id, s.patient_id, s.as_of, s.embedding,
       coalesce(c.content_sha256 <> s.content_sha256, false)
       or s.patient_id in (select m.patient_id from ehrdb.changed_patient m)
       or (n.kind <> 'model'
           and exists (select from ehrdb.event v where v.patient_id = s.patient_id and v.time > s.as_of)) as is_stale
  from ehrdb.patient_embedding s
  join ehrdb.encoder n using (encoder_id)
  left join ehrdb.embedding_point c
    on c.encoder_id = s.encoder_id and c.prompt_id = n.prompt_id and c.patient_id = s.patient_id and c.is_current;

comment on view ehrdb.served_embedding is
'Vectors that searches and predictions see, with what ehrdb.is_stale says of each: for answers about whole cohorts,
where one pass over all marks is quicker than a look-up for everybody.';
