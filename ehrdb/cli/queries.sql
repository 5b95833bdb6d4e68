-- loaded: what each source has brought
select p.source, count(*) as patients, sum(n.events)::bigint as events, max(p.loaded_at) as loaded_at
  from ehrdb.patient p
  left join lateral (select count(*) as events from ehrdb.event e where e.patient_id = p.patient_id) n on true
 group by p.source order by p.source;

-- embedding_status: per encoder, how far its vectors have come
select encoder, is_serving, patients, embedded, coverage, stale, missing, unchecked, pending, leased, retrying, dead,
       reasons, truncated, oldest_pending, oldest_pending_age, per_minute, time_left,
       last_run, last_run_embedded, last_run_failed, last_run_error, digest
  from ehr.embedding_status order by encoder;

-- nearest: the patients nearest to one
select rank, patient_id, similarity, as_of, is_stale
  from ehr.nearest_patients(%(patient_id)s, %(k)s, null, %(as_of)s, %(encoder)s);

-- predict_one: the probability for one patient; says why where there is none
select ehr.predict(%(task)s, %(patient_id)s, %(as_of)s, %(encoder)s);

-- timeline: a patient's current record as text
select ehr.timeline(%(patient_id)s);
