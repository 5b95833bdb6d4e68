create or replace view ehr.embedding_status with (security_invoker = true) as
select e.name as encoder, e.is_serving, e.digest,
       known.patients, served.embedded, point.stale,
       known.patients - served.embedded as missing,
       job.pending, job.retrying, job.dead, job.reasons, job.oldest_pending,
       marked.changed as unchecked,
       run.finished_at as last_run, run.embedded as last_run_embedded, run.failed as last_run_failed
  from ehrdb.encoder e
 cross join (select count(*) as patients from ehrdb.patient) known
 cross join (select count(*) as changed from ehrdb.changed_patient) marked
 cross join lateral (
    select count(*) as embedded from ehrdb.patient_embedding s where s.encoder_id = e.encoder_id) served
 cross join lateral (
    select count(*) as stale
      from ehrdb.patient_embedding s
      join ehrdb.embedding_point p
        on p.encoder_id = s.encoder_id and p.patient_id = s.patient_id and p.prompt_id = e.prompt_id
       and p.is_current
     where s.encoder_id = e.encoder_id
       and (s.content_sha256 <> p.content_sha256
            or e.kind <> 'model' and exists (select from ehrdb.event v
                                              where v.patient_id = s.patient_id and v.time > s.as_of))) point
 cross join lateral (
    select count(*) filter (where not j.is_dead) as pending,
           count(*) filter (where not j.is_dead and j.attempts > 0) as retrying,
           count(*) filter (where j.is_dead) as dead,
           min(j.created_at) filter (where not j.is_dead) as oldest_pending,
           (select jsonb_object_agg(r.reason, r.jobs)
              from (select reason, count(*) as jobs from ehrdb.embedding_job
                     where encoder_id = e.encoder_id and reason is not null group by reason) r) as reasons
      from ehrdb.embedding_job j where j.encoder_id = e.encoder_id) job
  left join lateral (
    select * from ehrdb.refresh_run r
     where r.encoder_id = e.encoder_id and r.finished_at is not null
     order by r.run_id desc limit 1) run on true;

comment on view ehr.embedding_status is
'Per encoder, from the data itself: patients known, embedded, stale (text changed since; imported vectors: the
record goes on), missing, contents pending, retrying and dead with reasons, and patients changed since anybody
looked (unchecked).
Example: select encoder, patients, embedded, stale, pending, dead from ehr.embedding_status;';
