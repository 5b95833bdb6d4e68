-- name: records
-- so many events for everybody, of some 300 codes each, a few of which nearly everybody has
insert into ehrdb.event (patient_id, time, valid_to, ordinal, code_id, unit_id, numeric_value)
select patient_id, time, lag(time, 1, 'infinity') over (partition by patient_id, code_id order by time desc, ordinal),
       ordinal, code_id, case when code_id %% 7 = 1 then 1 + code_id %% 40 end,
       case when code_id %% 7 = 1 then (ordinal %% 90)::real end
  from (select patient_id, n as ordinal, timestamp '2010-01-01' + n * interval '9 days' as time,
               case when n %% 4 = 0 then 1 + (n + patient_id) %% 50
                    else 1 + (hashint8(patient_id * 1000 + n)::bigint + 2147483648) %% 20000 end as code_id
          from ehrdb.patient, generate_series(1, %(events)s) n) made;

-- name: changed
-- so many patients, evenly spread, get one more event each, of a code that they may or may not have
insert into ehrdb.event (patient_id, time, ordinal, code_id)
select p.patient_id, '2021-01-01', 1000000 + %(round)s, 1 + (p.patient_id * 7 + %(round)s) %% 20000
  from ehrdb.patient p
 where p.patient_id %% %(step)s = 17 %% %(step)s;

-- name: active_seconds
-- how long statements of this database have been running, by the server's own account
select active_time / 1000 from pg_stat_database where datname = current_database();

-- name: sessions
-- processes that work for somebody
select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid();

-- name: database_size
select pg_database_size(current_database());

-- name: event_bytes
-- of a row, with its part of the indexes
select pg_total_relation_size('ehrdb.event')::float8 / greatest(count(*), 1) from ehrdb.event;
