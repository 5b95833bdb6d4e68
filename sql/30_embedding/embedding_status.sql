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
       run.error as last_run_error,
       (select v.verified_at from ehrdb.verification v where v.what = 'figures') as figures_verified_at
  from ehrdb.encoder e
 cross join (
    select case when row_security_active('ehrdb.patient') then (select count(*) from ehrdb.patient)
                else (select coalesce(sum(f.patients), 0)::bigint from ehrdb.figure f) end as patients) known
 cross join (select count(distinct patient_id) as changed from ehrdb.changed_patient) marked
 cross join lateral (
    select coalesce(sum(f.embedded), 0)::bigint as embedded, coalesce(sum(f.truncated), 0)::bigint as truncated,
           coalesce(sum(f.queued), 0)::bigint as queued,
           sum(f.contents) filter (where f.contents > 0 and f.changed_at > now() - interval '10 minutes') * 60
           / nullif(extract(epoch from max(f.changed_at) filter (where f.contents > 0)
                                       - min(f.changed_at) filter (where f.contents > 0 and f.changed_at > now() - interval '10 minutes')), 0)
           ::float8 as per_minute
      from ehrdb.figure f where f.encoder_id = e.encoder_id) kept
 cross join lateral (
    select case when row_security_active('ehrdb.patient_embedding')
                then (select count(*) from ehrdb.patient_embedding s where s.encoder_id = e.encoder_id)
                else kept.embedded end as embedded) served
 cross join lateral (
    select case when row_security_active('ehrdb.patient_embedding') or e.kind <> 'model'
                then (select count(*) from ehrdb.served_embedding s where s.encoder_id = e.encoder_id and s.is_outdated)
                -- A text that changed since is on the queue.
                else (select count(*)
                        from ehrdb.embedding_job j
                        join ehrdb.embedding_point c
                          on c.encoder_id = j.encoder_id and c.content_sha256 = j.content_sha256 and c.is_current
                         and c.prompt_id = e.prompt_id
                        join ehrdb.patient_embedding s on s.encoder_id = c.encoder_id and s.patient_id = c.patient_id
                       where j.encoder_id = e.encoder_id) end as stale) point
 cross join lateral (
    select case when row_security_active('ehrdb.embedding_job')
                then (select count(*) from ehrdb.embedding_job j where j.encoder_id = e.encoder_id)
                else kept.queued end - failed.dead as pending,
           failed.retrying, failed.dead, failed.reasons, leased.leased,
           (select min(j.created_at) from ehrdb.embedding_job j
             where j.encoder_id = e.encoder_id and not j.is_dead) as oldest_pending
      from (select count(*) filter (where not r.is_dead) as retrying, count(*) filter (where r.is_dead) as dead,
                   (select jsonb_object_agg(g.reason, g.jobs)
                      from (select j.reason, count(*) as jobs from ehrdb.embedding_job j
                             where j.encoder_id = e.encoder_id and j.attempts > 0 and j.reason is not null
                             group by j.reason) g) as reasons
              from ehrdb.embedding_job r where r.encoder_id = e.encoder_id and r.attempts > 0) failed
     cross join (
            select count(*) as leased from ehrdb.embedding_job j
             where j.encoder_id = e.encoder_id and j.worker is not null and not j.is_dead and j.leased_until > now()) leased) job
 cross join lateral (
    select case when row_security_active('ehrdb.embedding')
                then (select count(*) from ehrdb.embedding v where v.encoder_id = e.encoder_id and v.is_truncated)
                else kept.truncated end as truncated,
           kept.per_minute) made
  left join lateral (
    select * from ehrdb.refresh_run r
     where r.encoder_id = e.encoder_id and r.finished_at is not null
     order by r.run_id desc limit 1) run on true;

comment on view ehr.embedding_status is
'Per encoder: patients known, embedded (coverage: their share), stale (a changed text waits to be embedded;
imported vectors: the record goes on), missing; contents pending, leased by a worker, retrying and dead with reasons;
vectors made of truncated texts; patients changed since anybody looked (unchecked). Under row-level security all of it is of the
patients whom the reader sees. per_minute: contents embedded in
the last ten minutes; time_left: what is pending at that rate. last_run_error: the kind of error that ended it early. Counts of
patients and vectors are kept, changed in the same transaction as the data; figures_verified_at: when `ehrdb repair` last
compared them with it (null: never).
Example: select encoder, patients, embedded, stale, pending, dead from ehr.embedding_status;';

comment on column ehr.embedding_status.encoder is 'The encoder''s name (ehr.encoder).';
comment on column ehr.embedding_status.is_serving is 'Whether questions that name no encoder use it.';
comment on column ehr.embedding_status.digest is 'What identifies the encoder''s files and settings.';
comment on column ehr.embedding_status.patients is 'Patients known.';
comment on column ehr.embedding_status.embedded is 'Patients with a vector.';
comment on column ehr.embedding_status.stale is 'Patients whose text is known to differ from that of their vector; those not yet looked at: unchecked.';
comment on column ehr.embedding_status.missing is 'Patients without a vector.';
comment on column ehr.embedding_status.pending is 'Contents that wait to be embedded.';
comment on column ehr.embedding_status.retrying is 'Contents that failed and will be tried again.';
comment on column ehr.embedding_status.dead is 'Contents given up; `ehrdb retry` tries them again.';
comment on column ehr.embedding_status.reasons is 'Kinds of error and how many contents have each, as JSON; null without errors.';
comment on column ehr.embedding_status.oldest_pending is 'Since when the oldest pending content waits; null without any.';
comment on column ehr.embedding_status.unchecked is 'Patients changed since anybody looked.';
comment on column ehr.embedding_status.last_run is 'When the last refresh ended; null before the first.';
comment on column ehr.embedding_status.last_run_embedded is 'Contents embedded by the last refresh.';
comment on column ehr.embedding_status.last_run_failed is 'Contents that failed in the last refresh.';
comment on column ehr.embedding_status.coverage is 'embedded / patients, from 0 to 1; null without patients.';
comment on column ehr.embedding_status.leased is 'Contents that a worker has in hand.';
comment on column ehr.embedding_status.oldest_pending_age is 'How long the oldest pending content has waited; null without any.';
comment on column ehr.embedding_status.truncated is 'Vectors made of truncated texts.';
comment on column ehr.embedding_status.per_minute is 'Contents embedded per minute in the last ten minutes; null without any.';
comment on column ehr.embedding_status.time_left is 'How long pending contents take at per_minute; null without a rate.';
comment on column ehr.embedding_status.last_run_error is 'The kind of error that ended the last refresh early; null if none did.';
comment on column ehr.embedding_status.figures_verified_at is 'When `ehrdb repair` last compared the counts with the data; null: never.';
