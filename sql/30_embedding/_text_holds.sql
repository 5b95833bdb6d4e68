create or replace function ehrdb.text_holds(
    for_encoder_id integer, for_prompt_id integer, for_patient_id bigint, moment timestamp
) returns boolean
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    -- Whose record has not changed since a refresh looked need not be read.
    select case when n.kind <> 'model' or not exists (select from ehrdb.changed_patient m where m.patient_id = for_patient_id)
                then true
                else exists (select from ehr.timelines(array[for_patient_id], array[moment], n.format) t
                               join ehrdb.prompt p on p.prompt_id = for_prompt_id
                               join ehrdb.embedding_point e on e.content_sha256 = ehrdb.content_sha256(p.prompt, t.text)
                              where e.encoder_id = for_encoder_id and e.prompt_id = for_prompt_id
                                and e.patient_id = for_patient_id and e.as_of = moment) end
      from ehrdb.encoder n
     where n.encoder_id = for_encoder_id;
end;

comment on function ehrdb.text_holds(integer, integer, bigint, timestamp) is
'Whether what was embedded of a patient as of a moment is still the text as of then: a record may have arrived late.';
