create or replace function ehr.predict_at(
    tasks text[], patient_ids bigint[], as_ofs timestamp[], encoder text default null
) returns table (
    "position" integer, task text, patient_id bigint, as_of timestamp, probability float8, known_until timestamp,
    is_stale boolean, reason text, lower float8, upper float8, base_rate float8, head_id integer
)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select ehrdb.note('predict_at', $2);
    with head as materialized (
        select t.place, h.*
          from unnest($1) with ordinality t (task, place), ehrdb.head_of(t.task, ehrdb.encoder_id($4)) h
         where ehrdb.are_pairs($2, $3) and ehrdb.is_count(coalesce(cardinality($1), 0), 'tasks')
    )
    select x.place_of_pair, x.target, x.patient_id, x.moment,
           ehrdb.calibrated(x.logit, x.calibration_slope, x.calibration_shift, x.curve_at, x.curve_value),
           x.known_until, x.is_stale, x.reason,
           ehrdb.bounded(x.logit, x.calibration_slope, x.calibration_shift, x.curve_at, x.curve_value, x.bounds_at,
                         x.bounds_lower, -1),
           ehrdb.bounded(x.logit, x.calibration_slope, x.calibration_shift, x.curve_at, x.curve_value, x.bounds_at,
                         x.bounds_upper, 1),
           x.base_rate, x.head_id
      from (select h.*, v.place as place_of_pair, v.patient_id, v.moment, v.as_of as known_until, v.is_stale, v.reason,
                   case when v.reason is null then ehrdb.head_logit(
                       h.weights, h.intercept, v.vector, h.head_id, h.count_bins, h.age_weight, v.patient_id, v.as_of)
                       end as logit
              from (select n.prompt_id, v.*, v.embedding::public.vector as vector
                      from (select distinct h.prompt_id from head h) n,
                           ehrdb.vectors_at(ehrdb.encoder_id($4), n.prompt_id, $2, $3) v
                    offset 0) v
              join head h using (prompt_id)
            offset 0) x
     order by x.place_of_pair, x.place;
end;

comment on function ehr.predict_at(text[], bigint[], timestamp[], text) is
'Probabilities of many tasks'' outcomes for patients, each as of a moment of their own.
patient_ids and as_ofs are parallel lists. known_until is the moment up to which the vector knows the record; infinity stands for
now, where the newest vector answers and is_stale says whether the record went on. A pair without a vector of its text has no
probability, and reason says why: embed such with `ehrdb refresh --at`. lower, upper, base_rate and head_id are as in
ehr.predict_cohort. EH005, EH006: unknown task, no head; EH007: lists that
do not fit together.
Example: select * from ehr.predict_at(array[''guo_los'', ''guo_icu''], array[1, 2], array[''2020-01-01'', ''2021-01-01'']::timestamp[]);';

create or replace function ehr.predict_at(
    task text, patient_ids bigint[], as_ofs timestamp[], encoder text default null
) returns table (
    "position" integer, patient_id bigint, as_of timestamp, probability float8, known_until timestamp, is_stale boolean,
    reason text, lower float8, upper float8, base_rate float8, head_id integer
)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select ehrdb.note('predict_at', $2);
    select p."position", p.patient_id, p.as_of, p.probability, p.known_until, p.is_stale, p.reason, p.lower, p.upper,
           p.base_rate, p.head_id
      from ehr.predict_at(array[$1], $2, $3, $4) p
     order by p."position";
end;

comment on function ehr.predict_at(text, bigint[], timestamp[], text) is
'Probability of the task''s outcome for patients, each as of a moment of their own: one row for each pair.
patient_ids and as_ofs are parallel lists; those of an OMOP cohort come from ehr.cohort_moments. A pair without a vector of its
text has no probability, and reason says why: embed such with `ehrdb refresh --at`.
Example: select p.* from ehr.cohort_moments(7) c, ehr.predict_at(''guo_los'', c.patient_ids, c.as_ofs) p;';
