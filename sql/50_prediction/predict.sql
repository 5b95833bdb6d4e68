create or replace function ehr.predict(
    task text, patient_id bigint, as_of timestamp default 'infinity', encoder text default null
) returns float8
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    is_noted constant boolean := ehrdb.note('predict', array[$2]);
    head constant ehrdb.head := ehrdb.head_of(task, ehrdb.encoder_id(encoder));
    found record;
begin
    perform ehrdb.is_moment(as_of);
    select ehrdb.calibrated(e.logit, head.calibration_slope, head.calibration_shift, head.curve_at, head.curve_value)
               as probability, e.reason into found
      from (select v.reason, case when v.reason is null then ehrdb.head_logit(
                       head.weights, head.intercept, v.embedding::public.vector, head.head_id, head.count_bins,
                       head.age_weight, v.patient_id, v.as_of) end as logit
              from ehrdb.vectors_at(head.encoder_id, head.prompt_id, array[predict.patient_id], array[predict.as_of]) v
            offset 0) e;
    if found.probability is null then
        perform ehrdb.raise_no_embedding(patient_id, as_of, found.reason);
    end if;
    return found.probability;
end
$$;

comment on function ehr.predict(text, bigint, timestamp, text) is
'Probability of the task''s outcome for one patient, from the record as of a moment.
A past moment is answered from a vector of the text as of then alone; where no moment is given, from the newest vector
(ehr.predict_cohort says of when it is, whether it is stale, its bounds, and how common the outcome is). EH001: unknown
patient; EH004: not embedded as of then, with the command that does it; EH005: unknown task; EH006: no head trained for
this encoder.
Example: select ehr.predict(''guo_readmission'', 1);';
