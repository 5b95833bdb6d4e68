-- name: people
-- sex and birth, and labels of one task at the moment that is embedded
update ehrdb.patient set sex = case when patient_id % 2 = 0 then 'F' else 'M' end,
       birth_time = timestamp '1930-01-01' + (patient_id % 25000) * interval '1 day';
insert into ehrdb.task (task, task_group, kind, description, declaration)
values ('bench', 'bench', 'binary', 'Made up', '{"shape": "imported"}');
insert into ehrdb.label (task, patient_id, prediction_time, value)
select 'bench', patient_id, '2020-01-01', (hashint8(patient_id) % 3 = 0)::integer from ehrdb.patient;

-- name: events
-- forty a patient within fifteen years before 2020, a few of 20,000 concepts used often, a quarter numbers
insert into ehrdb.event (patient_id, time, valid_to, ordinal, code_id, unit_id, numeric_value, source_table)
select patient_id, time,
       lag(time, 1, 'infinity') over (partition by patient_id, code_id order by time desc, ordinal), ordinal, code_id,
       case when code_id % 4 = 1 then 1 + code_id % 40 end, case when code_id % 4 = 1 then (40 * r)::real end,
       (array['condition_occurrence', 'measurement', 'drug_exposure', 'procedure_occurrence'])[1 + code_id % 4]
  from (select patient_id, time, code_id, r, row_number() over (partition by patient_id order by time) - 1 as ordinal
          from (select patient_id, random() as r, timestamp '2005-01-01' + random() * interval '5478 days' as time,
                       1 + floor(20000 * power(random(), 6))::integer as code_id
                  from ehrdb.patient, generate_series(1, 40)) drawn) numbered
 order by patient_id, ordinal;

-- name: seen
-- a refresh has looked at everybody since
delete from ehrdb.changed_patient;

-- name: head
-- as training stores it
insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance)
select 'bench', 'bench', e.encoder_id, e.prompt_id,
       (select array_agg(sin(i))::real[] from generate_series(1, e.dimension) i)::public.vector, 0,
       '{"test": {"auroc": 0.5, "brier": 0.25}, "labels": {"test": 15000}}'
  from ehrdb.encoder e;
