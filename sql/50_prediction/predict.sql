create or replace function ehr.predict(
    task text, patient_id bigint, as_of timestamp default 'infinity', encoder text default null
) returns float8
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    head constant ehrdb.head := ehrdb.head_of(task, ehrdb.encoder_id(encoder));
    found float8;
begin
    perform ehrdb.is_moment(as_of);
    select ehrdb.head_probability(head.weights, head.intercept, head.calibration_slope, head.calibration_shift,
                                  e.embedding::public.vector) into found
      from ehrdb.newest_vector(head.encoder_id, head.prompt_id, predict.as_of) e
     where e.patient_id = predict.patient_id;
    if found is null then
        perform ehrdb.raise_no_embedding(patient_id, as_of);
    end if;
    return found;
end
$$;

comment on function ehr.predict(text, bigint, timestamp, text) is
'Probability of the task''s outcome for one patient, from the newest embedding at or before as_of.
EH001: unknown patient; EH004: nothing embedded by then; EH005: unknown task; EH006: no head trained for this encoder.
Example: select ehr.predict(''guo_readmission'', 1);';
