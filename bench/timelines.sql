-- name: vocabulary
-- 20,000 concepts of 30 to 75 characters in seven vocabularies, 40 units
insert into ehrdb.unit (unit) select 'unit' || i from generate_series(1, 40) i;
insert into ehrdb.concept (code, vocabulary, description)
select v || '/' || i, v, 'Concept number ' || i || ' of' || repeat(' description', 1 + i % 4)
  from (select i, (array['SNOMED', 'LOINC', 'RxNorm', 'SNOMED', 'ICD10CM', 'HCPCS', 'LOINC'])[1 + i % 7] as v
          from generate_series(1, 20000) i) named;

-- name: patients
-- as many as asked for
insert into ehrdb.patient (patient_id, source, fingerprint)
select i, 'bench', '' from generate_series(1, %(patients)s) i;

-- name: records
-- of log-normal length, mean about 6,200 events, at most 60,000
create temp table bench_record on commit drop as
select patient_id, timestamp '1990-01-01' + random() * interval '15 years' as starts,
       least(60000, greatest(20, exp(ln(3500) + 1.05 * sqrt(-2 * ln(random() + 1e-12)) * cos(2 * pi() * random()))))
           ::integer as events
  from ehrdb.patient;

-- name: events
-- some 600 codes a patient, a few used often; two or three events a minute; 28 in 100 numbers, 6 texts
insert into ehrdb.event (patient_id, time, valid_to, ordinal, code_id, unit_id, numeric_value, text_value)
select patient_id, time,
       lag(time, 1, 'infinity') over (partition by patient_id, code_id order by time desc, ordinal), ordinal, code_id,
       case when code_id % 7 in (1, 6) then 1 + code_id % 40 end,
       case when code_id % 7 in (1, 6) then round((r * (code_id % 5 + 1) * 40)::numeric, (code_id % 3)::integer)::real end,
       case when code_id % 7 = 3 and r < 0.4 then 'text value ' || (r * 100)::integer end
  from (select patient_id, time, code_id, r, row_number() over (partition by patient_id order by time) - 1 as ordinal
          from (select patient_id, random() as r,
                       date_trunc('minute', starts + floor(random() * events / 2.5) / (events / 2.5)
                                            * interval '5500 days') as time,
                       1 + (hashint8(patient_id * 1000 + floor(700 * power(random(), 2.5))::integer)::bigint
                            + 2147483648) % 20000 as code_id
                  from bench_record, generate_series(1, events)) drawn) numbered
 order by patient_id, ordinal;

-- name: point_table
-- moments spread over the patients' records
create table public.bench_point (place bigint, patient_id bigint, as_of timestamp);

-- name: points
-- as many as asked for
insert into public.bench_point
select row_number() over (order by hashint8(patient_id), part), patient_id, starts + part * (ends - starts)
  from (select patient_id, min(time) as starts, max(time) as ends from ehrdb.event group by patient_id) p
 cross join (values (0.17), (0.51), (0.83)) parts (part)
 order by 1 limit %(points)s;

-- name: settle
-- visibility map and statistics, as a load leaves them
vacuum (analyze) ehrdb.event;
analyze ehrdb.concept_text;
analyze ehrdb.concept;

-- name: counts
-- what there is
select count(*), count(distinct patient_id) from ehrdb.event;

-- name: scan
-- the floor of touching every event once
select sum(numeric_value) from ehrdb.event;

-- name: current
-- every patient's text
select count(*), sum(length(text)) from ehr.current_timeline;

-- name: current_hashed
-- and its sha-256, as a refresh asks for it
select count(*), max(text_sha256) from ehr.current_timeline;

-- name: computed
-- the same from all events, nothing kept
select count(*), sum(length(text))
  from (select k.patient_id,
               string_agg(ehrdb.line(l.text, u.unit, k.numeric_value, k.short_text), E'\n'
                          order by k.time desc, k.ordinal) as text
          from (select distinct on (e.patient_id, e.code_id) e.* from ehrdb.event e
                 order by e.patient_id, e.code_id, e.time desc, e.ordinal) k
          join ehrdb.concept_text l using (code_id)
          left join ehrdb.unit u on u.unit_id = k.unit_id and k.numeric_value is not null
         group by k.patient_id) t;

-- name: arrays
-- the points as arguments
select array_agg(patient_id order by place), array_agg(as_of order by place) from public.bench_point;

-- name: as_of
-- the texts at all points
select count(*), sum(length(text)) from ehr.timelines(%(patient_ids)s::bigint[], %(as_ofs)s::timestamp[], %(format)s);

-- name: visible
-- events that the points see
select count(*)
  from unnest(%(patient_ids)s::bigint[], %(as_ofs)s::timestamp[]) as p (patient_id, as_of)
  join ehrdb.event e on e.patient_id = p.patient_id and e.time <= p.as_of;

-- name: lateral
-- the same texts, the latest event of each code looked for point by point
select count(*), sum(length(text))
  from (select p.place,
               string_agg(ehrdb.line(l.text, u.unit, k.numeric_value, k.short_text), E'\n'
                          order by k.time desc, k.ordinal) as text
          from public.bench_point p
         cross join lateral (
            select distinct on (e.code_id) e.code_id, e.time, e.ordinal, e.unit_id, e.numeric_value, e.short_text
              from ehrdb.event e
             where e.patient_id = p.patient_id and e.time <= p.as_of
             order by e.code_id, e.time desc, e.ordinal) k
          join ehrdb.concept_text l using (code_id)
          left join ehrdb.unit u on u.unit_id = k.unit_id and k.numeric_value is not null
         group by p.place) t;

-- name: lateral_index
-- what the lateral form reads best
create index bench_event_by_code on ehrdb.event (patient_id, code_id, time desc, ordinal)
    include (numeric_value, unit_id, short_text);

-- name: drop_lateral_index
-- back to what ehrdb has
drop index ehrdb.bench_event_by_code;

-- name: one
-- one patient at one moment
select ehr.timeline(%(patient_id)s, %(as_of)s, %(format)s);

-- name: largest
-- the ten longest records
select patient_id from ehrdb.event group by patient_id order by count(*) desc limit 10;

-- name: export
-- events in order, for programs that work in memory
copy (select e.patient_id, e.time, e.code_id, l.text, u.unit, e.numeric_value, e.text_value
        from ehrdb.event e join ehrdb.concept_text l using (code_id) left join ehrdb.unit u using (unit_id)
       where e.patient_id <= 800
       order by e.patient_id, e.ordinal) to stdout (format csv, header);
