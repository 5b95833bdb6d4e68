-- name: patient
-- who this is, as of a moment; no row: unknown, or not theirs to see
select p.patient_id, p.sex, p.birth_time,
       case when p.death_time <= %(as_of)s then p.death_time end as death_time,
       case when p.birth_time <= %(as_of)s
            then extract(year from age(least(%(as_of)s, p.death_time, e.last), p.birth_time))::integer end as age,
       e.events, e.first, e.last
  from ehr.patient p
 cross join lateral (select count(*) as events, min(e.time) as first, max(e.time) as last
                       from ehr.event e
                      where e.patient_id = p.patient_id and (e.time is null or e.time <= %(as_of)s)) e
 where p.patient_id = %(patient_id)s;

-- name: events
-- newest first, as known at the moment: at most so many, of a table if one is named, before an event if one is named
select e.time, case when e.end_time <= %(as_of)s then e.end_time end as end_time, e.code,
       left(coalesce(e.description, e.code), 300) as description, e.numeric_value, left(e.text_value, 300) as text_value,
       length(e.text_value) > 300 as is_cut, e.unit, e.visit_id, e.source_table, e.ordinal
  from ehr.event e
 where e.patient_id = %(patient_id)s and (e.time is null or e.time <= %(as_of)s)
   and (%(category)s::text is null or e.source_table = %(category)s)
   and (%(since)s::timestamp is null or e.time >= %(since)s)
   and (%(before)s::integer is null or e.ordinal < %(before)s)
 order by e.ordinal desc
 limit %(limit)s;

-- name: categories
-- which tables the patient's events come from
select e.source_table as category, count(*) as events
  from ehr.event e
 where e.patient_id = %(patient_id)s and (e.time is null or e.time <= %(as_of)s) and e.source_table is not null
 group by e.source_table order by e.source_table;

-- name: visits
-- what the visits were
select v.visit_id, v.visit_class, left(coalesce(v.description, v.code), 120) as description, v.start_time,
       case when v.end_time <= %(as_of)s then v.end_time end as end_time
  from ehr.visit v
 where v.patient_id = %(patient_id)s and v.start_time <= %(as_of)s and v.visit_id = any (%(visits)s::text[]);

-- name: measurements
-- the values most often measured, each the newest of its unit, oldest first; and, for adults, where usual ones lie in that unit
with measured as (
    select e.code, e.unit, e.description, e.time, e.numeric_value,
           row_number() over newest as place, count(*) over (partition by e.code, e.unit) as times
      from ehr.event e
     where e.patient_id = %(patient_id)s and e.time <= %(as_of)s and e.numeric_value is not null
       and e.numeric_value not in ('NaN', 'Infinity', '-Infinity')
    window newest as (partition by e.code, e.unit order by e.ordinal desc)
), drawn as (
    select code, unit, left(max(description), 80) as description, max(times) as times,
           array_agg(time order by time) as moments, array_agg(numeric_value::float8 order by time) as figures
      from measured
     where place <= 40 and times > 1
     group by code, unit
     order by max(times) desc, code
     limit 12
)
select d.*, (a.normal_low - u.shift) / u.factor as usual_low, (a.normal_high - u.shift) / u.factor as usual_high
  from drawn d
  left join ehrdb.concept c on c.code = d.code
  left join lateral (select m.rules, m.position from ehrdb.measured_as m where m.code_id = c.code_id and m.rules = 'graded'
                      offset 0) m on true
  left join ehrdb.aggregated_unit u on u.rules = m.rules and u.position = m.position and u.unit = coalesce(lower(d.unit), '')
  left join ehrdb.aggregated_concept a on a.rules = u.rules and a.position = u.position
 order by d.times desc, d.code;

-- name: reasons
-- the rarest concepts that each neighbour shares with the patient, and how many are related or only one's
select n.patient_id, r.shared, r.shared_count, r.related_count, r.differing_count
  from unnest(%(neighbours)s::bigint[]) as n (patient_id)
 cross join lateral (
    select (array_agg(left(coalesce(e.description, e.code), 80) order by e.weight desc)
               filter (where e.relation = 'shared'))[:3] as shared,
           count(*) filter (where e.relation = 'shared') as shared_count,
           count(*) filter (where e.relation = 'related') as related_count,
           count(*) filter (where e.relation in ('only_a', 'only_b')) as differing_count
      from ehr.explain_similarity(%(patient_id)s, n.patient_id, %(as_of)s) e) r;

-- name: heads
-- what the serving encoder can say, and from what it learned it
select h.task, h.trained_at, h.provenance
  from ehr.head h
  join ehr.encoder n on n.name = h.encoder and n.is_serving
 order by h.task;

-- name: bearers
-- patients whose record holds a code or one below it
select distinct e.patient_id
  from ehrdb.event e
 where e.code_id in (select * from ehrdb.expanded_codes(array[%(code)s])) and e.valid_to = 'infinity'
 order by e.patient_id;

-- name: members
-- the first patients there are
select p.patient_id from ehr.patient p order by p.patient_id limit 20;

-- name: strip
-- how the events lie over time: equal periods from the first after birth to the last known, each with its end
with known as (
    select e.time from ehr.event e join ehr.patient p using (patient_id)
     where e.patient_id = %(patient_id)s and e.time <= %(as_of)s and e.time > coalesce(p.birth_time, '-infinity')
), bounds as (
    select min(k.time) as first, max(k.time) as last from known k
), counted as (
    select width_bucket(extract(epoch from k.time), extract(epoch from b.first), extract(epoch from b.last) + 1, %(periods)s) as n,
           count(*) as events
      from known k cross join bounds b
     group by 1
)
select coalesce(c.events, 0) as events, b.first + (b.last - b.first) * n / %(periods)s as until
  from generate_series(1, %(periods)s) n cross join bounds b left join counted c using (n)
 where b.last > b.first
 order by n;

-- name: is_outcome
-- whether it is a task or a code
select exists (select from ehr.task t where t.task = %(outcome)s)
       or exists (select from ehr.concept c where c.code = %(outcome)s) as is_outcome;

-- name: sample
-- others, the same at every call
select p.patient_id from ehr.patient p
 where p.patient_id <> %(patient_id)s
 order by hashint8(p.patient_id), p.patient_id limit %(size)s;

-- name: outcome_times
-- when the nearest of a sample, and some others of it, first had the outcome after the moment, and how far their records
-- reach; a search among everybody's vectors of a past day takes longer than a page may
with near as materialized (
    select n.patient_id from ehr.nearest_patients(%(patient_id)s, %(near)s, nullif(%(sample)s::bigint[], '{}'), %(as_of)s) n
), other as materialized (
    select s.patient_id from unnest(%(sample)s::bigint[]) with ordinality s (patient_id, place)
     where exists (select from ehr.event e where e.patient_id = s.patient_id and e.time <= %(as_of)s)
     order by s.place limit %(others)s
), who as (
    select 'nearest' as group_name, n.patient_id from near n
    union all
    select 'others' as group_name, o.patient_id from other o
), meant as materialized (
    select array(select x from ehrdb.expanded_codes(array[%(outcome)s]) x) as codes,
           exists (select from ehr.task t where t.task = %(outcome)s) as is_task
)
select w.group_name, w.patient_id,
       case when m.is_task
            then (select min(l.prediction_time) from ehr.label l
                   where l.task = %(outcome)s and l.patient_id = w.patient_id and l.value > 0
                     and l.prediction_time > %(as_of)s)
            else (select min(e.time) from ehrdb.event e
                   where e.patient_id = w.patient_id and e.code_id = any (m.codes) and e.time > %(as_of)s) end as at,
       (select max(e.time) from ehrdb.event e where e.patient_id = w.patient_id) as last
  from who w cross join meant m;

-- name: encoders
-- every encoder, and how far its vectors have come
select e.name, e.is_serving, e.kind, e.dimension, e.max_tokens, e.precision, e.format, e.digest, e.created_at, s.embedded,
       s.patients, s.truncated
  from ehr.encoder e left join ehr.embedding_status s on s.encoder = e.name
 order by e.is_serving desc, e.name;

-- name: all_heads
-- every head
select h.task, h.encoder, h.trained_at, h.provenance, n.is_serving
  from ehr.head h join ehr.encoder n on n.name = h.encoder
 order by n.is_serving desc, h.encoder, h.task;

-- name: card
-- where a head comes from
select ehr.model_card(%(task)s) as card;

-- name: moving_lines
-- the lines that move a patient's probabilities most, of tasks that somebody has explained
select h.task, left(r.name, 120) as name, r.effect
  from ehr.head h
  join ehr.encoder n on n.name = h.encoder and n.is_serving
 cross join lateral (
    select r.name, r.effect from ehr.risk_reasons(h.task, %(patient_id)s, %(as_of)s) r where r.kind = 'line' limit 5) r
 where exists (select from ehrdb.risk_reason k where k.head_id = h.head_id and k.patient_id = %(patient_id)s);

-- name: risks
-- probabilities at the moment, and how they developed: after every visit and wherever else the record is embedded, the
-- newest moments of those, oldest first
with visited as (
    select v.as_of from unnest(ehrdb.visit_moments(%(patient_id)s)) v (as_of)
), known as (
    select v.as_of from visited v
    union
    select o.as_of from ehrdb.embedding_point o
     where o.encoder_id = ehrdb.encoder_id(null) and o.patient_id = %(patient_id)s and isfinite(o.as_of)
), newest as (
    select k.as_of from known k where k.as_of <= %(as_of)s order by k.as_of desc limit %(limit)s
), asked as (
    select array_agg(m.as_of) as moments
      from (select n.as_of from newest n union select %(as_of)s::timestamp) m (as_of)
)
select p.task, nullif(p.as_of, 'infinity') as as_of, p.probability, p.lower, p.upper, p.base_rate, p.known_until, p.is_stale,
       p.as_of = %(as_of)s as is_asked, n.as_of is not null as is_history,
       n.as_of is not null and p.reason = 'not embedded as of then'
       and p.as_of in (select v.as_of from visited v) as is_missing,
       exists (select from ehr.label l
                where l.task = h.task and l.patient_id = p.patient_id and l.prediction_time = p.as_of) as is_trained
  from asked a
 cross join lateral ehr.predict_at(
       %(tasks)s::text[], array_fill(%(patient_id)s::bigint, array[cardinality(a.moments)]), a.moments) p
  join ehrdb.head h using (head_id)
  left join newest n on n.as_of = p.as_of
 order by p.task, as_of;

-- name: test_predictions
-- what the serving head says of test patients' labels, as of each prediction time; of a fixed sample where there are many
with sampled as materialized (
    select l.patient_id, l.prediction_time, l.value from ehrdb.label l where l.task = %(task)s
     order by hashint8(l.patient_id), l.patient_id, l.prediction_time
     limit %(limit)s
)
select p.patient_id, ehrdb.is_positive(t, l.value)::integer as label, extract(year from l.prediction_time)::integer as year,
       p.sex, extract(year from age(l.prediction_time, p.birth_time))::integer as age,
       ehrdb.calibrated(v.logit, h.calibration_slope, h.calibration_shift, h.curve_at, h.curve_value) as probability
  from ehrdb.head h
  join ehrdb.task t on t.task = h.task and h.target = h.task
  join ehrdb.encoder n on n.encoder_id = h.encoder_id and n.is_serving
  cross join sampled l
  join ehrdb.patient p on p.patient_id = l.patient_id
  join ehrdb.embedding_point o on o.encoder_id = h.encoder_id and o.prompt_id = h.prompt_id
   and o.patient_id = l.patient_id and o.as_of = l.prediction_time
  join ehrdb.embedding e on e.encoder_id = o.encoder_id and e.content_sha256 = o.content_sha256
  cross join lateral (
        select ehrdb.head_logit(h.weights, h.intercept, ehrdb.as_vector(e.embedding), h.head_id, h.count_bins, h.age_weight,
                                l.patient_id, l.prediction_time) as logit
        offset 0) v
 where h.target = %(task)s and coalesce(p.split, ehrdb.split_of(p.patient_id)) = 'test'
 order by p.patient_id, l.prediction_time;

-- name: evaluations
-- the newest evaluation of every task, or of one, that was kept; place: 1 where most was learned from
select v.*, dense_rank() over (partition by v.task order by v.k = -1 desc, v.k desc) as place
  from ehr.evaluation v
 where (%(task)s::text is null or v.task = %(task)s)
   and v.evaluated_at = (select max(n.evaluated_at) from ehr.evaluation n where n.task = v.task)
 order by v.task, place, v.is_evaluated desc, v.auroc desc, v.model;

-- name: months
-- how the serving head did month by month, as `ehrdb monitor` found it, oldest first
select m.month, m.labels, m.predicted, m.observed, m.population_stability, m.unknown_codes, m.verdict, m.checked_at
  from ehrdb.head_month m
  join ehrdb.head h using (head_id)
 where h.target = %(task)s and h.encoder_id = ehrdb.encoder_id(null)
 order by m.month;

-- name: is_code
-- whether there is such a concept
select exists (select from ehr.concept c where c.code = %(code)s) as is_code;

-- name: cohort_members
-- who is meant, in a fixed order that is nobody's: those with a code or its descendants, of a sex, born in these years
with bearer as materialized (  -- once, not by each parallel worker
    select distinct e.patient_id from ehrdb.event e
     where e.code_id in (select * from ehrdb.expanded_codes(array[%(code)s])) and e.valid_to = 'infinity'
)
select p.patient_id
  from ehrdb.patient p
 where (%(ids)s::bigint[] is null or p.patient_id in (select unnest(%(ids)s::bigint[])))
   and (%(code)s::text is null or p.patient_id in (select b.patient_id from bearer b))
   and (%(sex)s::text is null or upper(left(p.sex, 1)) = %(sex)s)
   and (%(born_from)s::integer is null or extract(year from p.birth_time) >= %(born_from)s)
   and (%(born_to)s::integer is null or extract(year from p.birth_time) <= %(born_to)s)
 order by hashint8(p.patient_id), p.patient_id
 limit %(limit)s;

-- name: others
-- embedded patients outside the cohort, a fixed sample
select p.patient_id
  from ehrdb.patient_embedding p
 where p.encoder_id = ehrdb.encoder_id(null) and p.patient_id not in (select unnest(%(ids)s::bigint[]))
 order by hashint8(p.patient_id), p.patient_id
 limit %(limit)s;

-- name: balance
-- how alike two groups are
select covariate, mean_cohort, mean_controls, standardized_difference
  from ehr.cohort_balance(%(cohort)s, %(controls)s, concepts => 15);

-- name: dots
-- members' current vectors, and what colours them
select s.patient_id, s.embedding,
       case %(colour)s
            when 'task' then (select case when bool_or(l.value > 0) then 'positive' else 'negative' end
                                from ehr.label l where l.task = %(task)s and l.patient_id = s.patient_id)
            when 'code' then case when exists (
                select from ehrdb.event e
                 where e.patient_id = s.patient_id
                   and e.code_id in (select * from ehrdb.expanded_codes(array[%(code)s]))) then 'has it' else 'has it not' end
            when 'age' then 'born ' || (extract(decade from p.birth_time) * 10)::integer::text || 's'
            when 'source' then p.source
            else p.sex end
  from ehrdb.patient_embedding s
  join ehrdb.patient p using (patient_id)
 where s.encoder_id = ehrdb.encoder_id(null) and s.patient_id in (select unnest(%(ids)s::bigint[]))
 order by hashint8(s.patient_id), s.patient_id;

-- name: loads
-- the last loads, oldest first
select l.* from (
    select r.load_id, min(r.loaded_at) as at, max(r.source) as source, 
           coalesce(max(r.rows_loaded) filter (where r.source_table = 'all events'),
                    sum(r.rows_loaded) filter (where r.kind = 'table'), 0)::bigint as rows,
           0 as failed, null::text as error
      from ehr.load_report r group by r.load_id order by r.load_id desc limit 20) l
 order by l.load_id;

-- name: refreshes
-- the last refreshes that did something, oldest first
select r.* from (
    select r.run_id, r.started_at as at, r.embedded::bigint as embedded, r.failed::bigint as failed, r.error
      from ehrdb.refresh_run r where r.embedded > 0 or r.failed > 0 or r.error is not null
     order by r.run_id desc limit 20) r
 order by r.run_id;

-- name: related_concepts
-- a concept, what is above it and below it (one step), with how many visible patients have each
with asked as (
    select c.code_id from ehrdb.concept c where c.code = %(code)s
), kin as (
    select 'itself' as relation, a.code_id from asked a
    union all
    select 'broader' as relation, p.parent_id from asked a join ehrdb.concept_parent p on p.child_id = a.code_id
    union all
    select 'narrower' as relation, p.child_id from asked a join ehrdb.concept_parent p on p.parent_id = a.code_id
     where p.child_id not in (select s.code_id from ehrdb.stands_for s where s.standard_id = a.code_id)
    union all
    select 'stands for it' as relation, s.code_id from asked a join ehrdb.stands_for s on s.standard_id = a.code_id
)
select k.relation, c.code, coalesce(c.description, c.code) as description,
       (select count(*) from ehrdb.event e where e.code_id = c.code_id and e.valid_to = 'infinity') as patients
  from kin k join ehrdb.concept c using (code_id)
 order by array_position(array['itself', 'broader', 'narrower', 'stands for it'], k.relation), patients desc, c.code
 limit 60;
