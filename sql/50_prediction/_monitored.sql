create or replace function ehrdb.monitored(for_encoder_id integer, tasks text[])
returns table (
    head_id integer, patient_id bigint, month date, is_positive integer, probability float8, is_reference boolean
)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with head as materialized (
        select h.*, (h.provenance ->> 'labels_until')::timestamp as labels_until
          from ehrdb.head h
          join ehrdb.task t using (task)
         where h.encoder_id = for_encoder_id and h.target = h.task and t.kind in ('binary', 'multiclass')
           and (tasks is null or h.target = any (tasks))
    )
    select x.head_id, x.patient_id, date_trunc('month', x.prediction_time)::date, x.is_positive,
           ehrdb.calibrated(x.logit, x.calibration_slope, x.calibration_shift, x.curve_at, x.curve_value), x.is_reference
      from (select h.*, l.patient_id, l.prediction_time, ehrdb.is_positive(t, l.value)::integer as is_positive,
                   coalesce(l.prediction_time <= h.labels_until, true) as is_reference,
                   ehrdb.head_logit(h.weights, h.intercept, e.embedding::public.vector,
                                    h.head_id, h.count_bins, h.age_weight, l.patient_id, l.prediction_time) as logit
              from head h
              join ehrdb.task t using (task)
              join ehrdb.label l using (task)
              join ehrdb.patient p using (patient_id)
              join ehrdb.embedding_point n on n.encoder_id = h.encoder_id and n.prompt_id = h.prompt_id
               and n.patient_id = l.patient_id and n.as_of = l.prediction_time
              join ehrdb.embedding e on e.encoder_id = n.encoder_id and e.content_sha256 = n.content_sha256
             where coalesce(p.split, ehrdb.split_of(p.patient_id)) = 'test' or l.prediction_time > h.labels_until
            offset 0) x;
end;

comment on function ehrdb.monitored(integer, text[]) is
'What an encoder''s heads say of labels that they have not learned from, with the month of the prediction time: those of test
patients, and everybody''s after the last label that a head learned from. is_reference: not after that.';
