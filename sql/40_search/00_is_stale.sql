create or replace function ehrdb.is_stale(served ehrdb.patient_embedding) returns boolean
language sql stable parallel safe
as $$
    select exists (select from ehrdb.changed_patient c where c.patient_id = served.patient_id)
        or exists (select from ehrdb.embedding_point p join ehrdb.encoder n using (encoder_id, prompt_id)
                    where p.encoder_id = served.encoder_id and p.patient_id = served.patient_id
                      and p.is_current and p.content_sha256 <> served.content_sha256)
        or exists (select from ehrdb.encoder n
                     join ehrdb.event v on v.patient_id = served.patient_id and v.time > served.as_of
                    where n.encoder_id = served.encoder_id and n.kind <> 'model')
$$;

comment on function ehrdb.is_stale(ehrdb.patient_embedding) is
'Whether the patient''s text has changed since this vector was made, or was not looked at since an event changed;
for vectors that no model here makes: whether the record goes on after them.';
