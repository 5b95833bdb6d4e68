-- name: records
-- ten events of a few hundred codes for every patient, on days of one year
insert into ehrdb.concept (code, vocabulary, description) select 'BENCH/' || n, 'BENCH', 'finding ' || n from generate_series(1, 300) n;
insert into ehrdb.event (patient_id, ordinal, time, code_id)
select p.patient_id, n, timestamp '2020-01-01' + (n * 36 + p.patient_id % 30) * interval '1 day',
       (select min(c.code_id) from ehrdb.concept c where c.vocabulary = 'BENCH') + (p.patient_id * 7 + n * 31) % 300
  from ehrdb.patient p, generate_series(0, 9) n;

-- name: head
-- a task with a head
insert into ehrdb.task (task, task_group, kind, description, declaration)
values ('bench', 'bench', 'binary', '', '{"shape": "imported"}');
insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance)
values ('bench', 'bench', %(encoder_id)s, %(prompt_id)s, %(weights)s, 0, '{}');

-- name: site
-- a reader who may see every second patient
create role bench_reader login in role ehr_analyst;
create schema site;
create table site.access (reader name, patient_id bigint, primary key (patient_id, reader));
insert into site.access select 'bench_reader', patient_id from ehrdb.patient where patient_id % 2 = 0;
insert into site.access select 'somebody', patient_id from ehrdb.patient where patient_id % 2 = 1;
create view site.visible with (security_barrier) as select patient_id from site.access where reader = current_user;
grant usage on schema site to ehr_analyst;
grant select on site.visible to ehr_analyst;

-- name: protect
-- on
select ehr.protect('site.visible');

-- name: unprotect
-- off
select ehr.unprotect();

-- name: nearest
-- of a patient
select patient_id from ehr.nearest_patients(%(patient_id)s, 10);

-- name: nearest_in_cohort
-- of a patient among one in fifty
select patient_id from ehr.nearest_patients(%(patient_id)s, 10, array(select generate_series(2, 20000, 100)::bigint));

-- name: timeline
-- of a patient
select ehr.timeline(%(patient_id)s);

-- name: predict
-- every patient
select count(*) from ehr.predict_cohort('bench');

-- name: predict_half
-- those whom the reader may see, asked for as a cohort: as many answers as row-level security leaves
select count(*) from ehr.predict_cohort('bench', array(select generate_series(2, %(patients)s, 2)::bigint));
