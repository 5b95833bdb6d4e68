create or replace function ehr.predict_cohort(
    tasks text[], cohort bigint[] default null, as_of timestamp default 'infinity', encoder text default null
) returns setof ehrdb.task_prediction
language sql stable
begin atomic
    -- Inlined into the query that calls it, so that nothing is stored on the way. `offset 0` keeps the order of work:
    -- each vector is read and cast once, then meets the heads in memory.
    with head as materialized (
        select h.target, h.prompt_id, h.prompt_id = n.prompt_id and $3 = 'infinity' as is_served, h.intercept,
               h.calibration_slope, h.calibration_shift, h.weights
          from ehrdb.encoder n, unnest($1) as t (task), ehrdb.head_of(t.task, n.encoder_id) h
         where n.encoder_id = ehrdb.encoder_id($4)
    )
    select x.target, s.patient_id, x.probability, s.as_of, s.is_stale
      from (select p.patient_id, p.as_of, p.embedding::public.vector as vector, p.is_stale
              from ehrdb.served_embedding p
             where p.encoder_id = ehrdb.encoder_id($4) and ($2 is null or p.patient_id = any ($2))
               and (select bool_or(h.is_served) from head h)
            offset 0) s
     cross join lateral (
            select h.target, ehrdb.head_probability(h.weights, h.intercept, h.calibration_slope, h.calibration_shift,
                                                    s.vector) as probability
              from head h where h.is_served offset 0) x
    union all
    select x.target, s.patient_id, x.probability, s.as_of,
           exists (select from ehrdb.event v
                    where v.patient_id = s.patient_id and v.time > s.as_of and v.time <= $3)
      from (select distinct on (p.prompt_id, p.patient_id) p.prompt_id, p.patient_id, p.as_of,
                   e.embedding::public.vector as vector
              from ehrdb.embedding_point p
              join ehrdb.embedding e on e.encoder_id = p.encoder_id and e.content_sha256 = p.content_sha256
             where p.encoder_id = ehrdb.encoder_id($4) and p.as_of <= $3 and ($2 is null or p.patient_id = any ($2))
               and p.prompt_id in (select h.prompt_id from head h where not h.is_served)
             order by p.prompt_id, p.patient_id, p.as_of desc) s
     cross join lateral (
            select h.target, ehrdb.head_probability(h.weights, h.intercept, h.calibration_slope, h.calibration_shift,
                                                    s.vector) as probability
              from head h where not h.is_served and h.prompt_id = s.prompt_id offset 0) x;
end;

comment on function ehr.predict_cohort(text[], bigint[], timestamp, text) is
'Probabilities of many tasks'' outcomes for every embedded member of a cohort (null: all patients), in one pass over
the vectors, with the moment up to which the record was known and whether it changed since.
Example: select * from ehr.predict_cohort(array[''guo_los'', ''guo_icu'']) where probability > 0.5;';
