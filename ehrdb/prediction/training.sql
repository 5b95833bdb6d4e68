-- name: uses_prompts
-- whether the encoder was trained to follow an instruction in front of the text
select (manifest ->> 'prompt_template')::boolean from ehrdb.encoder where encoder_id = %(encoder_id)s;

-- name: plan_labels
-- queue the timelines as of the task's prediction times
select ehrdb.plan_labels(%(encoder_id)s, %(task)s, %(prompt_id)s);

-- name: needed
-- contents at the task's prediction times that have no vector yet
select distinct n.content_sha256
  from ehrdb.label l
  join ehrdb.embedding_point n on n.encoder_id = %(encoder_id)s and n.prompt_id = %(prompt_id)s
   and n.patient_id = l.patient_id and n.as_of = l.prediction_time
 where l.task = %(task)s
   and not exists (select from ehrdb.embedding e
                    where e.encoder_id = n.encoder_id and e.content_sha256 = n.content_sha256);

-- name: store_head
-- one head per target and encoder; a new one takes the place of the old one, whose id and all that is kept under it go
with gone as (
    delete from ehrdb.patient_prediction p using ehrdb.head h
     where h.head_id = p.head_id and h.target = %(target)s and h.encoder_id = %(encoder_id)s
), unmonitored as (
    delete from ehrdb.head_month m using ehrdb.head h
     where h.head_id = m.head_id and h.target = %(target)s and h.encoder_id = %(encoder_id)s
), uncounted as (
    delete from ehrdb.head_count c using ehrdb.head h
     where h.head_id = c.head_id and h.target = %(target)s and h.encoder_id = %(encoder_id)s
), unexplained as (
    delete from ehrdb.risk_reason r using ehrdb.head h
     where h.head_id = r.head_id and h.target = %(target)s and h.encoder_id = %(encoder_id)s
)
insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, calibration_slope, calibration_shift,
                        curve_at, curve_value, bounds_at, bounds_lower, bounds_upper, base_rate, provenance,
                        count_bins, age_weight)
values (%(task)s, %(target)s, %(encoder_id)s, %(prompt_id)s, %(weights)s, %(intercept)s, %(slope)s, %(shift)s,
        %(curve_at)s::float8[], %(curve_value)s::float8[], %(bounds_at)s::float8[], %(lower)s::float8[], %(upper)s::float8[],
        %(base_rate)s, %(provenance)s, %(count_bins)s::integer[], %(age_weight)s)
on conflict (target, encoder_id) do update
   set head_id = default, task = excluded.task, prompt_id = excluded.prompt_id, weights = excluded.weights,
       intercept = excluded.intercept, calibration_slope = excluded.calibration_slope,
       calibration_shift = excluded.calibration_shift, curve_at = excluded.curve_at, curve_value = excluded.curve_value,
       bounds_at = excluded.bounds_at, bounds_lower = excluded.bounds_lower, bounds_upper = excluded.bounds_upper,
       base_rate = excluded.base_rate, provenance = excluded.provenance, trained_at = now(),
       count_bins = excluded.count_bins, age_weight = excluded.age_weight
returning head_id;

-- name: provenance
-- what a head was trained on: the loads of each source, the labels, who is in which split
select jsonb_build_object(
           'sources', (select jsonb_agg(jsonb_build_object('source', s.source, 'patients', s.patients,
                                                           'digest', encode(s.digest, 'hex')) order by s.source)
                         from ehrdb.source s),
           'labels_sha256', (select encode(sha256(convert_to(string_agg(
                                        format('%%s %%s %%s', l.patient_id, l.prediction_time, l.value), E'\n'
                                        order by l.patient_id, l.prediction_time, l.value), 'UTF8')), 'hex')
                               from ehrdb.label l where l.task = %(task)s),
           'labels_until', (select max(l.prediction_time) from ehrdb.label l join ehrdb.patient p using (patient_id)
                             where l.task = %(task)s and coalesce(p.split, ehrdb.split_of(p.patient_id)) <> 'test'),
           'split', case when exists (select from ehrdb.label l join ehrdb.patient p using (patient_id)
                                       where l.task = %(task)s and p.split is null)
                         then 'by patient id: 70 train, 15 val, 15 test' else 'the source''s own' end);
