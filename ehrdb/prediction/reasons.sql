-- name: question
-- a task's head, and the text that it is asked about; what a head counts stays as it is
select h.head_id, h.weights,
       h.intercept + coalesce(ehrdb.count_logit(h.head_id, h.count_bins, h.age_weight, %(patient_id)s, t.as_of), 0), p.prompt, (ehrdb.parse_format(n.format)).format.kind, t.as_of, t.text,
       ehrdb.explained_content(n.encoder_id, p.prompt_id, %(patient_id)s, %(as_of)s, t.text)
  from ehrdb.require_patient(%(patient_id)s)
 cross join lateral ehrdb.head_of(%(task)s, %(encoder_id)s) h
  join ehrdb.prompt p using (prompt_id)
  join ehrdb.encoder n using (encoder_id)
 cross join lateral ehr.timelines(array[%(patient_id)s::bigint], array[%(as_of)s::timestamp], n.format) t
 where ehrdb.is_moment(%(as_of)s);

-- name: parts
-- what a concatenation reads with, in order: each part's encoder, its prompt and its text
select n.encoder_id, n.name, n.kind, n.digest, n.dimension, coalesce(n.format, ''), n.prompt_id, n.is_serving,
       coalesce(n.manifest ->> 'name', n.name), p.prompt, t.text
  from ehrdb.encoder_part e
  join ehrdb.encoder n on n.encoder_id = e.part_id
  join ehrdb.head h on h.head_id = %(head_id)s
  join ehrdb.prompt p on p.prompt_id = case when (n.manifest ->> 'prompt_template')::boolean then h.prompt_id else n.prompt_id end
  left join lateral ehr.timelines(array[%(patient_id)s::bigint], array[%(as_of)s::timestamp], n.format) t on n.format is not null
 where e.encoder_id = %(encoder_id)s
 order by e.place;

-- name: categories
-- the text of each category that the format keeps, alone
select c.category, t.text
  from ehrdb.parse_format(%(format)s) f,
       unnest(coalesce(f.categories, array['demographics', 'visits', 'conditions', 'medications', 'procedures', 'labs'])) as c (category),
       ehr.timelines(array[%(patient_id)s::bigint], array[%(as_of)s::timestamp], (f.format).name || '_only_' || c.category) t
 where t.text <> '';

-- name: visits
-- visits by then, newest first, and how many lines are of events since each began; where the newest lines come first
select to_char(v.start_time, 'YYYY-MM-DD HH24:MI'),
       case when t.text = '' then 0 else regexp_count(t.text, E'\n') + 1 end
  from (select distinct v.start_time from ehr.visit v
         where v.patient_id = %(patient_id)s and isfinite(v.start_time) and v.start_time <= %(as_of)s
         order by v.start_time desc limit %(most)s) v
 cross join ehrdb.parse_format(%(format)s) f
 cross join lateral ehr.timelines(array[%(patient_id)s::bigint], array[%(as_of)s::timestamp], %(format)s,
                                  greatest(%(as_of)s - v.start_time, interval '1 microsecond')) t
 where (f.format).is_recent or (f.format).kind = 'graded'
 order by v.start_time desc;

-- name: probabilities
-- what the head's calibration makes of log odds, in their order
select ehrdb.calibrated(o.odds, h.calibration_slope, h.calibration_shift, h.curve_at, h.curve_value)
  from unnest(%(odds)s::float8[]) with ordinality o (odds, place), ehrdb.head h
 where h.head_id = %(head_id)s
 order by o.place;

-- name: kept
-- what was found before about this head and this content
select reasons from ehrdb.risk_reason
 where head_id = %(head_id)s and patient_id = %(patient_id)s and content_sha256 = %(content)s and most_lines = %(most_lines)s;

-- name: keep
-- numbers of lines and their effects, where this role may
select ehrdb.keep_reasons(%(head_id)s, %(patient_id)s, %(content)s, %(as_of)s, %(most_lines)s, %(found)s::jsonb);
