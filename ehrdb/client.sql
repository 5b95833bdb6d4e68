-- name: loaded
-- what each source has brought
select source, patients, events, loaded_at from ehrdb.loaded_source order by source;

-- name: embedding_status
-- per encoder, how far its vectors have come
select encoder, is_serving, patients, embedded, coverage, stale, missing, unchecked, pending, leased, retrying, dead,
       reasons, truncated, oldest_pending, oldest_pending_age, per_minute, time_left,
       last_run, last_run_embedded, last_run_failed, last_run_error, figures_verified_at, digest
  from ehr.embedding_status order by encoder;

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

-- name: nearest
-- the patients nearest to one
select rank, patient_id, similarity, known_until, is_stale
  from ehr.nearest_patients(%(patient_id)s, %(k)s, %(cohort)s::bigint[], %(as_of)s, %(encoder)s);

-- name: nearest_to_vector
-- the patients nearest to a description in words
select rank, patient_id, similarity, known_until, is_stale
  from ehr.nearest_patients(%(vector)s, %(k)s, %(cohort)s::bigint[], %(encoder)s);

-- name: search_patients
-- patients by the words and the meaning of a description
select rank, patient_id, rank_by_words, rank_by_meaning, found, similarity, known_until, is_stale
  from ehr.search_patients(%(query)s, %(k)s, %(cohort)s::bigint[], %(patience)s, %(encoder)s);

-- name: search_concepts
-- concepts by their words
select rank, code, description, vocabulary, patients from ehr.search_concepts(%(words)s, %(max_count)s);

-- name: predict_one
-- the probability for one patient with what stands beside it; an error says why there is none
select one.probability, p.lower, p.upper, p.base_rate, p.known_until, p.is_stale, h.trained_at
  from (select ehr.predict(%(task)s, %(patient_id)s, %(as_of)s, %(encoder)s) as probability offset 0) one
  -- Left joins: before PostgreSQL 18 nobody would be asked first where the others are none, and nothing would say why.
  left join lateral ehr.predict_cohort(
       %(task)s::text, array[%(patient_id)s::bigint], %(as_of)s, %(encoder)s) p on true
  left join ehr.head h using (head_id);

-- name: match_cohort
-- controls for cases
select case_id, control_id, similarity
  from ehr.match_cohort(%(cohort)s, %(candidates)s::bigint[], %(ratio)s, %(caliper)s, %(same_sex)s, %(age_band)s,
                        %(as_of)s, %(encoder)s);

-- name: cohort_balance
-- how alike cases and controls are
select covariate, mean_cohort, mean_controls, standardized_difference
  from ehr.cohort_balance(%(cohort)s, %(controls)s::bigint[], %(as_of)s);

-- name: known_colours
-- whether there is such a task, such a code
select exists (select from ehrdb.task where task = %(task)s),
       exists (select from ehrdb.expanded_codes(array[%(code)s::text]));

-- name: map_points
-- current vectors of a fixed sample, and what to colour them by
select s.patient_id, s.embedding,
       case when %(task)s::text is not null
            then (select case when bool_or(ehrdb.is_positive(t, l.value)) then 'positive'
                              when count(*) > 0 then 'negative'
                              else 'no label' end
                    from ehrdb.label l join ehrdb.task t using (task)
                   where l.task = %(task)s and l.patient_id = s.patient_id)
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

-- name: explain
-- why two patients are alike
select e.* from ehr.explain_similarity(%(a)s, %(b)s, %(as_of)s) e;

-- name: predict
-- probabilities of tasks for a cohort, most probable first
select p.* from ehr.predict_cohort(%(tasks)s::text[], %(cohort)s::bigint[], %(as_of)s, %(encoder)s) p
 order by p.task, p.probability desc nulls last, p.patient_id;

-- name: monitor
-- how heads do month by month
select m.* from ehr.monitor(%(tasks)s::text[], %(encoder)s) m;

-- name: outcomes
-- what happened to the nearest within the horizon
select o.* from ehr.nearest_outcomes(%(patient_id)s, %(outcome)s, %(as_of)s, %(horizon)s, %(k)s, %(cohort)s::bigint[],
                                     %(encoder)s) o;

-- name: search
-- the patients nearest to words, as a running worker reads them
call ehr.search_text(%(query)s, %(k)s, %(cohort)s::bigint[], %(patience)s, %(encoder)s);

-- name: embeddings
-- each member's vector of the record as of a moment, null where there is none
select p.patient_id, v.embedding
  from ehr.patient p
  left join ehrdb.vectors_as_of(ehrdb.encoder_id(%(encoder)s),
                                coalesce(%(cohort)s::bigint[], array(select c.patient_id from ehr.patient c)),
                                %(as_of)s) v on v.patient_id = p.patient_id
 where ehrdb.is_moment(%(as_of)s) and (%(cohort)s::bigint[] is null or p.patient_id = any (%(cohort)s))
 order by p.patient_id;

-- name: labels
-- a task's labels
select l.task, l.patient_id, l.prediction_time, l.value
  from ehr.label l where l.task = %(task)s order by l.patient_id, l.prediction_time;

-- name: is_task
-- whether there is such a task
select exists (select from ehr.task t where t.task = %(task)s);

-- name: neighbours
-- the JSON of a search in words as rows
select r.rank, r.patient_id, r.similarity, r.known_until, r.is_stale
  from jsonb_to_recordset(%(found)s) as r (rank integer, patient_id bigint, similarity float8, known_until timestamp,
                                           is_stale boolean)
 order by r.rank;

-- name: predict_at
-- probabilities of tasks for patients, each as of a moment of their own
select p."position", p.task, p.patient_id, p.as_of, p.probability, p.known_until, p.is_stale, p.reason
  from ehr.predict_at(%(tasks)s::text[], %(ids)s::bigint[], %(as_ofs)s::timestamp[], %(encoder)s) p;

-- name: nearest_at
-- the nearest of each, among candidates
select n.* from ehr.nearest_at(%(ids)s::bigint[], %(as_ofs)s::timestamp[], %(k)s, %(candidate_ids)s::bigint[],
                               %(candidate_as_ofs)s::timestamp[], %(encoder)s) n;

-- name: similarity_at
-- how alike records are, one by one
select s.* from ehr.similarity_at(%(ids)s::bigint[], %(as_ofs)s::timestamp[], %(candidate_ids)s::bigint[],
                                  %(candidate_as_ofs)s::timestamp[], %(encoder)s) s;

-- name: explain_at
-- why records are alike, one by one
select e.* from ehr.explain_similarity_at(%(ids)s::bigint[], %(as_ofs)s::timestamp[], %(candidate_ids)s::bigint[],
                                          %(candidate_as_ofs)s::timestamp[]) e;

-- name: outcomes_at
-- what happened to the nearest of each, each from its own moment
select o.* from ehr.nearest_outcomes_at(
       %(ids)s::bigint[], %(as_ofs)s::timestamp[], %(outcome)s, %(horizon)s, %(k)s, %(candidate_ids)s::bigint[],
       %(candidate_as_ofs)s::timestamp[], %(encoder)s) o;

-- name: match_at
-- controls for cases, each as of an index date of their own
select m.* from ehr.match_cohort_at(
       %(ids)s::bigint[], %(as_ofs)s::timestamp[], %(candidate_ids)s::bigint[], %(candidate_as_ofs)s::timestamp[],
       %(ratio)s, %(caliper)s, %(same_sex)s, %(age_band)s, %(encoder)s) m;

-- name: balance_at
-- how alike cases and controls are, each as of an index date of their own
select b.* from ehr.cohort_balance_at(%(ids)s::bigint[], %(as_ofs)s::timestamp[], %(control_ids)s::bigint[],
                                      %(control_as_ofs)s::timestamp[]) b;

-- name: require_head
-- an error where the task has no head of this encoder
select (ehrdb.head_of(%(task)s, ehrdb.encoder_id(%(encoder)s))).head_id;

-- name: timelines_at
-- records as text, each as of a moment of its own
select t."position", t.patient_id, t.as_of, t.text, t.lines_cut
  from ehr.timelines(%(ids)s::bigint[], %(as_ofs)s::timestamp[], %(format)s, %(time_window)s, %(max_chars)s) t;

-- name: risk_history
-- how a risk developed
select h.* from ehr.risk_history(%(task)s, %(patient_id)s, %(moments)s::timestamp[], %(encoder)s) h;
