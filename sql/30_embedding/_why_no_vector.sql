create or replace function ehrdb.why_no_vector(for_encoder_id integer, for_patient_id bigint, moment timestamp) returns text
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(ehrdb.why_no_record(for_patient_id, moment), case
        -- A format that leaves categories out is read; of the others, any event with words is a line.
        when (n.format ~ '_(no|only)_' or n.format in (select f.name from ehrdb.format f where f.kind = 'admission'))
            and (select t.text = '' from ehr.timelines(array[for_patient_id], array[moment], n.format) t)
            or not exists (select from ehrdb.event e
                             join ehrdb.concept_text c using (code_id)
                            where e.patient_id = for_patient_id and e.time <= moment)
            then 'nothing to embed by then'
        else 'not embedded as of then' end)
      from ehrdb.encoder n
     where n.encoder_id = for_encoder_id;
end;

comment on function ehrdb.why_no_vector(integer, bigint, timestamp) is
'In words, why a patient has no vector as of a moment: unknown patient, no record by then, nothing to embed by then, not
embedded as of then.';
