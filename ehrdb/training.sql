-- uses_prompts: whether the encoder was trained to follow an instruction in front of the text
select (manifest ->> 'prompt_template')::boolean from ehrdb.encoder where encoder_id = %(encoder_id)s;

-- plan_labels: queue the timelines as of the task's prediction times
select ehrdb.plan_labels(%(encoder_id)s, %(task)s, %(prompt_id)s);

-- labelled_vectors: split, label and vector of every label that has one, in the protocol's order
select coalesce(p.split, ehrdb.split_of(p.patient_id)), l.value, e.embedding::public.vector
  from ehrdb.label l
  join ehrdb.patient p using (patient_id)
  join ehrdb.embedding_point n on n.encoder_id = %(encoder_id)s and n.prompt_id = %(prompt_id)s
   and n.patient_id = l.patient_id and n.as_of = l.prediction_time
  join ehrdb.embedding e on e.encoder_id = n.encoder_id and e.content_sha256 = n.content_sha256
 where l.task = %(task)s
 order by l.patient_id, l.prediction_time, l.ctid;

-- labels_without_vectors: how many of a task's labels the encoder has no vector for
select count(*)
  from ehrdb.label l
 where l.task = %(task)s
   and not exists (select from ehrdb.embedding_point n
                    where n.encoder_id = %(encoder_id)s and n.prompt_id = %(prompt_id)s
                      and n.patient_id = l.patient_id and n.as_of = l.prediction_time);

-- store_head: one head per target and encoder; a new one takes the old one's place
insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, calibration_slope, calibration_shift,
                        provenance)
values (%(task)s, %(target)s, %(encoder_id)s, %(prompt_id)s, %(weights)s, %(intercept)s, %(slope)s, %(shift)s,
        %(provenance)s)
on conflict (target, encoder_id) do update
   set prompt_id = excluded.prompt_id, weights = excluded.weights, intercept = excluded.intercept,
       calibration_slope = excluded.calibration_slope, calibration_shift = excluded.calibration_shift,
       provenance = excluded.provenance, trained_at = now();
