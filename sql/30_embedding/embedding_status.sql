create or replace view ehr.embedding_status with (security_invoker = true) as
select e.name as encoder, e.is_serving, e.digest,
       known.patients, served.embedded, point.stale,
       known.patients - served.embedded as missing,
       job.pending, job.retrying, job.dead, job.reasons, job.oldest_pending,
       marked.changed as unchecked,
       run.finished_at as last_run, run.embedded as last_run_embedded, run.failed as last_run_failed,
       served.embedded / nullif(known.patients, 0)::float8 as coverage,
       job.leased, now() - job.oldest_pending as oldest_pending_age, made.truncated, made.per_minute,
       make_interval(secs => job.pending * 60 / nullif(made.per_minute, 0)) as time_left,
       run.error as last_run_error
  from ehrdb.encoder e
 cross join (select count(*) as patients from ehrdb.patient) known
 cross join (select count(distinct patient_id) as changed from ehrdb.changed_patient) marked
 cross join lateral (
    select count(*) as embedded from ehrdb.patient_embedding s where s.encoder_id = e.encoder_id) served
 cross join lateral (
    select count(*) as stale from ehrdb.served_embedding s where s.encoder_id = e.encoder_id and s.is_outdated) point
 cross join lateral (
    select count(*) filter (where not j.is_dead) as pending,
           count(*) filter (where not j.is_dead and j.attempts > 0) as retrying,
           count(*) filter (where j.is_dead) as dead,
           min(j.created_at) filter (where not j.is_dead) as oldest_pending,
           count(*) filter (where not j.is_dead and j.leased_until > now()) as leased,
           (select jsonb_object_agg(r.reason, r.jobs)
              from (select reason, count(*) as jobs from ehrdb.embedding_job
                     where encoder_id = e.encoder_id and reason is not null group by reason) r) as reasons
      from ehrdb.embedding_job j where j.encoder_id = e.encoder_id) job
 cross join lateral (
    select (select count(*) from ehrdb.embedding v where v.encoder_id = e.encoder_id and v.is_truncated) as truncated,
           count(*) * 60 / nullif(extract(epoch from max(v.embedded_at) - min(v.embedded_at)), 0)::float8 as per_minute
      from ehrdb.embedding v where v.encoder_id = e.encoder_id and v.embedded_at > now() - interval '10 minutes') made
  left join lateral (
    select * from ehrdb.refresh_run r
     where r.encoder_id = e.encoder_id and r.finished_at is not null
     order by r.run_id desc limit 1) run on true;

comment on view ehr.embedding_status is
'Per encoder, from the data itself: patients known, embedded (coverage: their share), stale (text changed since;
imported vectors: the record goes on), missing; contents pending, leased by a worker, retrying and dead with reasons;
vectors made of truncated texts; patients changed since anybody looked (unchecked). Under row-level security all of it is of the
patients whom the reader sees. per_minute: contents embedded in
the last ten minutes; time_left: what is pending at that rate. last_run_error: the kind of error that ended it early.
Example: select encoder, patients, embedded, stale, pending, dead from ehr.embedding_status;';
