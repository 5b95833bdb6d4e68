create or replace function ehr.predict_cohort(
    tasks text[], cohort bigint[] default null, as_of timestamp default 'infinity', encoder text default null
) returns setof ehrdb.task_prediction
language sql stable
begin atomic
    -- Inlined into the query that calls it, so that nothing is stored on the way, and columns that it leaves out cost
    -- nothing. `offset 0` keeps the order of work: each vector is read and cast once, then meets the heads in memory.
    with head as materialized (
        select h.*, h.prompt_id = n.prompt_id and $3 = 'infinity' as is_served
          from ehrdb.encoder n, unnest($1) as t (task), ehrdb.head_of(t.task, n.encoder_id) h
         where ehrdb.note('predict_cohort', cohort => $2) and n.encoder_id = ehrdb.encoder_id($4) and ehrdb.is_cohort($2) and ehrdb.is_moment($3)
           and ehrdb.is_count(coalesce(cardinality($1), 0), 'tasks')
    )
    select c.target, c.patient_id,
           ehrdb.calibrated(c.logit, c.calibration_slope, c.calibration_shift, c.curve_at, c.curve_value),
           c.as_of, c.is_stale, c.reason,
           ehrdb.bounded(c.logit, c.calibration_slope, c.calibration_shift, c.curve_at, c.curve_value, c.bounds_at,
                         c.bounds_lower, -1),
           ehrdb.bounded(c.logit, c.calibration_slope, c.calibration_shift, c.curve_at, c.curve_value, c.bounds_at,
                         c.bounds_upper, 1),
           c.base_rate, c.head_id
      from (select x.*, s.patient_id, s.as_of, s.is_stale, null::text as reason
              from (select p.patient_id, p.as_of, p.embedding::public.vector as vector, p.is_stale
                      from ehrdb.served_embedding p
                     where p.encoder_id = ehrdb.encoder_id($4)
                       and ($2 is null or p.patient_id in (select c from unnest($2) c))
                       and (select bool_or(h.is_served) from head h)
                    offset 0) s
             cross join lateral (
                    select h.*, ehrdb.head_logit(h.weights, h.intercept, s.vector, h.head_id, h.count_bins, h.age_weight,
                                                 s.patient_id, s.as_of) as logit
                      from head h where h.is_served offset 0) x
            union all
            select x.*, s.patient_id, s.as_of, s.is_stale, s.reason
              from (select h.prompt_id, v.patient_id, v.as_of, v.is_stale, v.reason, v.embedding::public.vector as vector
                      from (select distinct h.prompt_id from head h where not h.is_served) h,
                           ehrdb.vectors_of($2, ehrdb.encoder_id($4), h.prompt_id, $3) v
                     where v.reason is null or $3 < 'infinity'
                    offset 0) s
             cross join lateral (
                    select h.*, case when s.reason is null then ehrdb.head_logit(
                                    h.weights, h.intercept, s.vector, h.head_id, h.count_bins, h.age_weight, s.patient_id,
                                    s.as_of) end as logit
                      from head h where not h.is_served and h.prompt_id = s.prompt_id offset 0) x) c;
end;

comment on function ehr.predict_cohort(text[], bigint[], timestamp, text) is
'Probabilities of many tasks'' outcomes for every embedded member of a cohort (null: all patients).
In one pass over the vectors, with the moment up to which the record was known (known_until) and whether it changed since. As of a past
moment every member has a row; where the record as of then is not embedded, the probability is null and reason says why.
lower and upper: how far the calibration alone would move the probability, had other validation patients been drawn (95 %);
not the spread of the head''s weights, and nothing of one patient''s fate; null where the head is not calibrated. base_rate: the
share of labels that are positive; head_id: which head it was (ehr.head).
EH001: nobody in the cohort is known; EH005, EH006: unknown task, no head; EH010: a cohort with a null, no moment.
Example: select * from ehr.predict_cohort(array[''guo_los'', ''guo_icu'']) where probability > 0.5;';

create or replace function ehr.predict_cohort(
    task text, cohort bigint[] default null, as_of timestamp default 'infinity', encoder text default null
) returns setof ehrdb.prediction
language sql stable
begin atomic
    select p.patient_id, p.probability, p.known_until, p.is_stale, p.reason, p.lower, p.upper, p.base_rate, p.head_id
      from ehr.predict_cohort(array[$1], $2, $3, $4) p;
end;

comment on function ehr.predict_cohort(text, bigint[], timestamp, text) is
'Probability of the task''s outcome for every embedded member of a cohort (null: all patients).
In one pass, with the moment up to which the record was known (known_until) and whether it changed since. As of a past moment every member
has a row; where the record as of then is not embedded, the probability is null and reason says why.
lower and upper: how far the calibration alone would move the probability, had other validation patients been drawn (95 %);
not the spread of the head''s weights, and nothing of one patient''s fate; null where the head is not calibrated. base_rate: the
share of labels that are positive; head_id: which head it was (ehr.head).
Example: select * from ehr.predict_cohort(''guo_readmission'') order by probability desc limit 10;';
