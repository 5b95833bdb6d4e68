-- name: unhurried
-- no time limit for this transaction
set local statement_timeout = 0;

-- name: plan
-- what is stale, in steps; returns patients looked at, contents queued, whether that was all
select patients, queued, is_done from ehrdb.plan_refresh();

-- name: repair
-- what is kept by difference, compared with everything; returns how much was wrong
select wrong_frequencies, wrong_figures, unused, lost from ehrdb.repair();

-- name: concatenate_all
-- bring concatenations up to date with their parts
select ehrdb.concatenate_all();

-- name: plan_snapshot
-- queue the cohort's timelines as of a moment
select ehrdb.plan_snapshot(%(encoder_id)s, %(as_of)s, %(cohort)s);

-- name: plan_index_dates
-- queue timelines of patients, each as of a moment of his own; how many of them there is nothing of
select queued, without from ehrdb.plan_index_dates(%(encoder_id)s, %(patient_ids)s::bigint[], %(as_ofs)s::timestamp[]);

-- name: start_run
-- a row for this run; those of a month ago go
with gone as (delete from ehrdb.refresh_run where started_at < now() - interval '30 days')
insert into ehrdb.refresh_run (encoder_id, worker, planned) values (%(encoder_id)s, %(worker)s, %(planned)s)
returning run_id;

-- name: finish_run
-- its figures
update ehrdb.refresh_run
   set finished_at = clock_timestamp(), embedded = %(embedded)s, failed = %(failed)s, tokens = %(tokens)s,
       seconds = %(seconds)s, error = %(error)s
 where run_id = %(run_id)s;

-- name: outlook
-- contents that could be claimed now, are leased by others, wait for a retry, are dead
select (select coalesce(sum(f.queued), 0)::bigint from ehrdb.figure f where f.encoder_id = %(encoder_id)s)
       - count(*) filter (where state <> 'ready'),
       count(*) filter (where state = 'leased'),
       count(*) filter (where state = 'waiting'), count(*) filter (where state = 'dead')
  from (select ehrdb.job_state(j, make_interval(secs => %(lease_seconds)s)) as state
          from ehrdb.embedding_job j
         where encoder_id = %(encoder_id)s and (worker is not null or attempts > 0)) job;

-- name: outlook_of
-- the same of these contents alone
select count(*) filter (where state = 'ready'), count(*) filter (where state = 'leased'),
       count(*) filter (where state = 'waiting'), count(*) filter (where state = 'dead')
  from (select ehrdb.job_state(j, make_interval(secs => %(lease_seconds)s)) as state
          from ehrdb.embedding_job j
         where encoder_id = %(encoder_id)s and content_sha256 = any (%(only)s::bytea[])) job;

-- name: claim
-- lease the contents with the longest texts, all questions about a timeline together, passing over what others hold
with next as (
    select encoder_id, content_sha256
      from ehrdb.embedding_job
     where encoder_id = %(encoder_id)s and not is_dead
       and (%(only)s::bytea[] is null or content_sha256 in (select unnest(%(only)s::bytea[])))
       and ehrdb.job_state(embedding_job, make_interval(secs => %(lease_seconds)s)) = 'ready'
     order by characters desc, patient_id, as_of, content_sha256
     limit %(jobs)s
       for update skip locked
)
update ehrdb.embedding_job j
   set worker = %(worker)s, leased_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
  from next
 where (j.encoder_id, j.content_sha256) = (next.encoder_id, next.content_sha256)
returning j.content_sha256, j.prompt_id, j.patient_id, j.as_of;

-- name: texts
-- prompt and text of claimed contents, made anew from the record; null where the record has changed
select job.content_sha256,
       case when ehrdb.content_sha256(p.prompt, t.text) = job.content_sha256 then p.prompt || t.text end
  from unnest(%(contents)s::bytea[], %(prompt_ids)s::integer[]) with ordinality
       as job (content_sha256, prompt_id, position)
  join ehrdb.prompt p using (prompt_id)
  join ehr.timelines(%(patient_ids)s::bigint[], %(as_ofs)s::timestamp[], %(format)s) t on t.position = job.position
 order by job.position;

-- name: discard
-- take contents off the queue that no record shows any more, and mark whoever showed them, so that nobody is lost
with gone as (
    delete from ehrdb.embedding_job
     where encoder_id = %(encoder_id)s and content_sha256 = any (%(contents)s)
    returning patient_id
)
insert into ehrdb.changed_patient (patient_id)
select patient_id from gone
union
select patient_id from ehrdb.embedding_point
 where encoder_id = %(encoder_id)s and content_sha256 = any (%(contents)s);

-- name: vector_table
-- where a batch lands
create temp table vectors on commit drop as
select content_sha256, token_count, is_truncated, embedding from ehrdb.embedding limit 0;

-- name: copy_vectors
-- the batch, in binary
copy pg_temp.vectors from stdin (format binary);

-- name: lock_points
-- hold on to who shows the batch's contents: a purge waits, or has taken them away already
select from ehrdb.embedding_point
 where encoder_id = %(encoder_id)s and content_sha256 = any (array(select content_sha256 from pg_temp.vectors))
 order by patient_id, as_of, prompt_id
   for key share;

-- name: drop_unshown
-- contents that nobody shows any more are not kept: their patient was purged while the model read the text
with gone as (
    delete from pg_temp.vectors v
     where v.content_sha256 <> all (array(
               select p.content_sha256 from ehrdb.embedding_point p
                where p.encoder_id = %(encoder_id)s
                  and p.content_sha256 = any (array(select content_sha256 from pg_temp.vectors))))
    returning content_sha256
)
delete from ehrdb.embedding_job
 where encoder_id = %(encoder_id)s and content_sha256 in (select content_sha256 from gone);

-- name: store
-- keep the batch, serve it, take its jobs off the queue
with kept as (
    insert into ehrdb.embedding (encoder_id, content_sha256, token_count, is_truncated, embedding)
    select %(encoder_id)s, content_sha256, token_count, is_truncated, embedding from pg_temp.vectors
        on conflict do nothing
)
delete from ehrdb.embedding_job
 where encoder_id = %(encoder_id)s and content_sha256 = any (array(select content_sha256 from pg_temp.vectors));

-- name: serve
-- hand the batch's vectors to search
select ehrdb.serve_current(%(encoder_id)s, array(select content_sha256 from pg_temp.vectors));

-- name: renew
-- hold on to what is still to do
update ehrdb.embedding_job
   set leased_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
 where encoder_id = %(encoder_id)s and worker = %(worker)s and leased_until > '-infinity';

-- name: fail
-- one more attempt, the reason, and when to try again (1, 4, 16, ... minutes; dead after five)
update ehrdb.embedding_job
   set attempts = attempts + 1, reason = %(reason)s, is_dead = attempts + 1 >= 5,
       not_before = clock_timestamp() + interval '1 minute' * 4 ^ attempts,
       worker = null, leased_until = '-infinity'
 where encoder_id = %(encoder_id)s and content_sha256 = %(content)s;

-- name: release
-- give back what this worker holds, untried
update ehrdb.embedding_job
   set worker = null, leased_until = '-infinity'
 where encoder_id = %(encoder_id)s and worker = %(worker)s;

-- name: retry
-- give failed contents a new chance at once
update ehrdb.embedding_job
   set attempts = 0, reason = null, is_dead = false, not_before = '-infinity'
 where encoder_id = %(encoder_id)s and attempts > 0;

-- name: unhurried_session
-- no time limit for this session's next statements
set statement_timeout = 0;

-- name: try_lock_index
-- whether this transaction is now the one that looks after indexes
select true from ehrdb.turn where what = 'index' for update skip locked;

-- name: index_state
-- whether search would use an index, whether there is one, whether it is whole; whether its table is to be analyzed;
-- whose it is, and whether that is us; how many vectors it would hold
select served.patients > ehrdb.exact_search_bound(), i.indexrelid is not null, coalesce(i.indisvalid, false),
       abs(served.patients - c.reltuples) > 0.1 * served.patients,
       pg_get_userbyid(c.relowner), pg_has_role(c.relowner, 'usage'), served.patients::bigint
  from (select coalesce(sum(f.embedded), 0) as patients
          from ehrdb.figure f where f.encoder_id = %(encoder_id)s) served
  join pg_class c on c.oid = to_regclass('ehrdb.patient_embedding_' || %(encoder_id)s)
  left join pg_index i
    on i.indexrelid = to_regclass('ehrdb.patient_embedding_' || %(encoder_id)s || '_hnsw');

-- name: building_memory
-- bytes that building an index may take in this session, and its role
select pg_size_bytes(current_setting('maintenance_work_mem')), current_user;

-- name: indexed_dimension
-- how many leading dimensions the index holds
select ehrdb.indexed_dimension(%(encoder_id)s);

-- name: metrics
-- encoder, digest, then the gauges of ehrdb.embedding.metrics in their order
select encoder, digest, patients, embedded, stale, unchecked, pending, leased, dead, truncated, coalesce(per_minute, 0),
       coalesce(extract(epoch from oldest_pending_age), 0)::float8, coalesce(extract(epoch from last_run), 0)::float8,
       coalesce(last_run_failed, 0), is_serving::integer
  from ehr.embedding_status order by encoder;

-- name: failure_reasons
-- how many contents failed for which kind of error
select encoder, reason, count(*) from ehr.failed_embedding group by encoder, reason order by encoder, reason;

-- name: head_alarms
-- of each head, whether its newest month that could be judged was not as expected, and when that was looked at
select distinct on (h.head_id) n.name, h.target, (m.verdict <> 'as expected')::integer,
       extract(epoch from m.checked_at)::float8
  from ehrdb.head_month m
  join ehrdb.head h using (head_id)
  join ehrdb.encoder n using (encoder_id)
 where m.verdict <> 'too few'
 order by h.head_id, m.month desc;

-- name: search_recall
-- how the index does against comparing all
select is_indexed, queries, recall, worst from ehr.search_recall(%(k)s, %(sample)s, %(encoder)s);
