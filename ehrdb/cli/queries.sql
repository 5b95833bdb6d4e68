-- name: ask_only
-- until this savepoint is rolled back nothing can be written, and names mean what they do in the caller's own sessions
select set_config('transaction_read_only', 'on', true), set_config('search_path', '"$user", public', true);

-- name: loaded
-- what each source has brought
select source, patients, events, loaded_at from ehrdb.loaded_source order by source;

-- name: embedding_status
-- per encoder, how far its vectors have come
select encoder, is_serving, patients, embedded, coverage, stale, missing, unchecked, pending, leased, retrying, dead,
       reasons, truncated, oldest_pending, oldest_pending_age, per_minute, time_left,
       last_run, last_run_embedded, last_run_failed, last_run_error, figures_verified_at, digest
  from ehr.embedding_status order by encoder;

-- name: nearest
-- the patients nearest to one
select rank, patient_id, similarity, as_of, is_stale
  from ehr.nearest_patients(%(patient_id)s, %(k)s, %(cohort)s::bigint[], %(as_of)s, %(encoder)s);

-- name: predict_one
-- the probability for one patient; says why where there is none
select ehr.predict(%(task)s, %(patient_id)s, %(as_of)s, %(encoder)s);

-- name: timeline
-- a patient's current record as text
select ehr.timeline(%(patient_id)s);

-- name: nearest_to_vector
-- the patients nearest to a description in words
select rank, patient_id, similarity, as_of, is_stale
  from ehr.nearest_patients(%(vector)s, %(k)s, %(cohort)s::bigint[], %(encoder)s);

-- name: match_cohort
-- controls for cases
select case_id, control_id, similarity
  from ehr.match_cohort(%(cohort)s, %(candidates)s::bigint[], %(ratio)s, %(caliper)s, %(same_sex)s, %(age_band)s,
                        %(as_of)s, %(encoder)s);

-- name: cohort_balance
-- how alike cases and controls are
select covariate, mean_cohort, mean_controls, standardized_difference
  from ehr.cohort_balance(%(cohort)s, %(controls)s::bigint[], %(as_of)s);

-- name: create_cohort_table
-- as the OMOP CDM defines it
create table if not exists {table} (
    cohort_definition_id integer not null,
    subject_id           bigint not null,
    cohort_start_date    date not null,
    cohort_end_date      date not null
);

-- name: insert_cohort
-- the controls, from their first event to their last at or before as_of
insert into {table} (cohort_definition_id, subject_id, cohort_start_date, cohort_end_date)
select %(definition_id)s, e.patient_id, min(e.time)::date, max(e.time)::date
  from ehr.event e
 where e.patient_id = any (%(controls)s) and isfinite(e.time) and e.time <= %(as_of)s
 group by e.patient_id;

-- name: map_points
-- current vectors of a fixed sample, and what to colour them by
select s.patient_id, s.embedding,
       case when %(task)s::text is not null
            then (select case when bool_or(l.value > 0) then 'positive' else 'negative' end
                    from ehr.label l where l.task = %(task)s and l.patient_id = s.patient_id)
            when %(code)s::text is not null
            then case when exists (select from ehrdb.event e
                                    where e.patient_id = s.patient_id
                                      and e.code_id in (select * from ehrdb.expanded_codes(array[%(code)s])))
                      then 'yes' else 'no' end
            else p.sex end
  from ehrdb.patient_embedding s
  join ehrdb.patient p using (patient_id)
 where s.encoder_id = ehrdb.encoder_id(%(encoder)s) and (%(cohort)s::bigint[] is null or patient_id = any (%(cohort)s))
 order by hashint8(s.patient_id), s.patient_id
 limit %(sample)s;

-- name: store_predictions
-- everybody's probabilities, kept
select heads, predicted, written, removed from ehrdb.store_predictions(%(tasks)s::text[], %(encoder)s);

-- name: record
-- who asks what about whom; a standby takes no note
select ehrdb.record(%(what)s, %(patients)s::bigint[], %(cohort_size)s) where not pg_is_in_recovery();

-- name: faults
-- what keeps embeddings from being made, in words
select 'no encoder is serving: run `ehrdb encoder export` or `ehrdb encoder register DIR`'
 where not exists (select from ehr.encoder where is_serving)
union all
select format('%s: none of %s patients is embedded', encoder, patients)
  from ehr.embedding_status where is_serving and patients > 0 and embedded = 0
union all
select format('%s: the last refresh ended in %s', encoder, last_run_error)
  from ehr.embedding_status where is_serving and last_run_error is not null
union all
select format('%s: %s contents wait, the oldest for %s, and nothing was embedded for ten minutes',
              encoder, pending, date_trunc('second', oldest_pending_age))
  from ehr.embedding_status
 where is_serving and pending > 0 and oldest_pending_age > interval '1 hour' and coalesce(per_minute, 0) = 0;
