create or replace function ehr.predict(
    task text, patient_id bigint, as_of timestamp default 'infinity', encoder text default null
) returns float8
language plpgsql stable parallel safe
set search_path = pg_catalog, public, pg_temp
as $$
declare
    head constant ehrdb.head := ehrdb.head_of(task, ehrdb.encoder_id(encoder));
    found float8;
begin
    select ehrdb.head_probability(head.weights, head.intercept, head.calibration_slope, head.calibration_shift,
                                  e.embedding::vector) into found
      from ehrdb.embedding_point p
      join ehrdb.embedding e on e.encoder_id = p.encoder_id and e.content_sha256 = p.content_sha256
     where p.encoder_id = head.encoder_id and p.prompt_id = head.prompt_id
       and p.patient_id = predict.patient_id
       and p.as_of <= predict.as_of
     order by p.as_of desc
     limit 1;
    if found is null then
        perform ehrdb.raise_no_embedding(patient_id, as_of);
    end if;
    return found;
end
$$;

comment on function ehr.predict(text, bigint, timestamp, text) is
'Probability of the task''s outcome for one patient, from the newest embedding at or before as_of. EH001: unknown
patient; EH004: nothing embedded by then; EH005: unknown task; EH006: no head trained for this encoder.
Example: select ehr.predict(''guo_readmission'', 1);';
