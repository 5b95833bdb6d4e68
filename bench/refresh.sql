-- name: records
-- so many events for everybody, a few hundred codes each
insert into ehrdb.event (patient_id, time, valid_to, ordinal, code_id, unit_id, numeric_value)
select patient_id, time, lag(time, 1, 'infinity') over (partition by patient_id, code_id order by time desc, ordinal),
       ordinal, code_id, case when code_id %% 7 = 1 then 1 + code_id %% 40 end,
       case when code_id %% 7 = 1 then (ordinal %% 90)::real end
  from (select patient_id, n as ordinal, timestamp '2010-01-01' + n * interval '9 hours' as time,
               1 + (hashint8(patient_id * 1000 + n)::bigint + 2147483648) %% 20000 as code_id
          from ehrdb.patient, generate_series(1, %(events)s) n) made;

-- name: looked_at
-- as after a load that changed nothing that shows
delete from ehrdb.changed_patient;

-- name: touched
-- every hundredth patient's events are written again, unchanged
update ehrdb.event set visit_id = 'v' where patient_id % 100 = 0;

-- name: changed
-- every hundredth patient gets a new event
insert into ehrdb.event (patient_id, time, ordinal, code_id)
select patient_id, '2021-01-01', 1000000 + %(round)s, %(round)s from ehrdb.patient where patient_id %% 100 = 0;

-- name: drop_vectors
-- no vectors any more, and nobody has been looked at
truncate ehrdb.embedding, ehrdb.patient_embedding, ehrdb.embedding_point, ehrdb.embedding_job, ehrdb.plan_progress;
delete from ehrdb.figure where encoder_id is not null;

-- name: texts
-- what a full refresh embeds
select text from ehr.current_timeline where text <> '' order by length(text) desc;
