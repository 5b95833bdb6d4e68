-- uses_prompts: whether the encoder was trained to follow an instruction in front of the text
select (manifest ->> 'prompt_template')::boolean from ehrdb.encoder where encoder_id = %(encoder_id)s;

-- plan_labels: queue the timelines as of the task's prediction times
select ehrdb.plan_labels(%(encoder_id)s, %(task)s, %(prompt_id)s);

-- store_head: one head per target and encoder; a new one takes the old one's place
insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, calibration_slope, calibration_shift,
                        provenance)
values (%(task)s, %(target)s, %(encoder_id)s, %(prompt_id)s, %(weights)s, %(intercept)s, %(slope)s, %(shift)s,
        %(provenance)s)
on conflict (target, encoder_id) do update
   set prompt_id = excluded.prompt_id, weights = excluded.weights, intercept = excluded.intercept,
       calibration_slope = excluded.calibration_slope, calibration_shift = excluded.calibration_shift,
       provenance = excluded.provenance, trained_at = now();
