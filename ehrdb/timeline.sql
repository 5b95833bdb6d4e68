-- name: timeline
-- one patient's text at one moment, and how many lines were cut
select t.text, t.lines_cut
  from ehrdb.require_patient(%(patient_id)s)
 cross join lateral ehr.timelines(array[%(patient_id)s::bigint], array[%(as_of)s::timestamp], %(format)s,
                                  %(time_window)s, %(max_chars)s) t;
