-- name: stage_labels
-- rows as labels, under the names that MEDS, EHRSHOT and ehrdb give their columns
create temp table label_staging on commit drop as
select r.row, ehrdb.to_bigint(coalesce(j.fields ->> 'patient_id', j.fields ->> 'subject_id')) as patient_id,
       ehrdb.to_time(r.prediction_time) as prediction_time,
       case lower(v.value) when 'true' then 1 when 'false' then 0 else ehrdb.to_bigint(v.value) end as value
  from pg_temp.raw_label r
 cross join lateral (select to_jsonb(r) as fields) j
 cross join lateral (select coalesce(nullif(j.fields ->> 'value', ''), nullif(j.fields ->> 'boolean_value', ''),
                                     nullif(j.fields ->> 'integer_value', '')) as value) v
 where coalesce(j.fields ->> 'task', %(task)s) = %(task)s;

-- name: any_label
-- whether there is one
select from pg_temp.label_staging limit 1;

-- name: problem_table
-- what cannot be loaded
create temp table if not exists load_problem (
    file text, source_table text, row bigint, column_name text, problem text
) on commit drop;

-- name: check_labels
-- rows that cannot be labels
insert into pg_temp.load_problem (source_table, row, column_name, problem)
select 'label', s.row, rule.column_name, rule.problem
  from (select l.*, first_value(value) over (partition by patient_id, prediction_time order by row) as first
          from pg_temp.label_staging l) s
  left join ehrdb.patient p using (patient_id)
 cross join lateral (values
       ('patient_id', 'is not a whole number', s.patient_id is null),
       ('patient_id', format('patient %%s is not in the database', s.patient_id),
        s.patient_id is not null and p.patient_id is null),
       ('prediction_time', format('patient %%s: is not a date or time', s.patient_id), s.prediction_time is null),
       ('value', format('patient %%s: is not a class of task %%s', s.patient_id, %(task)s::text),
        s.value is null or s.value not between 0 and %(largest)s),
       ('value', format('patient %%s: has another value at the same moment above', s.patient_id),
        s.value <> s.first and not %(may_differ)s)
       ) as rule (column_name, problem, is_broken)
 where rule.is_broken;

-- name: remove_labels
-- those of before
delete from ehrdb.label where task = %(task)s;

-- name: add_labels
-- in the file's order
insert into ehrdb.label (task, patient_id, prediction_time, value)
select %(task)s, s.patient_id, s.prediction_time, s.value from pg_temp.label_staging s order by s.row;

-- name: drop_staging
-- before the next file
drop table pg_temp.label_staging, pg_temp.raw_label;

-- name: export_labels
-- a task's labels in the protocol's order
copy (select l.patient_id, l.prediction_time, l.value
        from ehrdb.label l where l.task = %(task)s
       order by l.patient_id, l.prediction_time, l.ctid) to stdout (format csv);

-- name: export_predictions
-- labels of a split beside what the task's head says about them
copy (select l.patient_id, l.prediction_time, ehrdb.is_positive(t, l.value)::integer,
             ehrdb.calibrated(v.logit, h.calibration_slope, h.calibration_shift, h.curve_at, h.curve_value)
        from ehrdb.label l
        join ehrdb.task t using (task)
        join ehrdb.patient p using (patient_id)
        join ehrdb.head h on h.target = l.task and h.encoder_id = %(encoder_id)s
        join ehrdb.embedding_point n on n.encoder_id = h.encoder_id and n.prompt_id = h.prompt_id
         and n.patient_id = l.patient_id and n.as_of = l.prediction_time
        join ehrdb.embedding e on e.encoder_id = n.encoder_id and e.content_sha256 = n.content_sha256
        cross join lateral (select ehrdb.head_logit(h.weights, h.intercept, ehrdb.as_vector(e.embedding), h.head_id,
                                                    h.count_bins, h.age_weight, l.patient_id, l.prediction_time) as logit
                            offset 0) v
       where l.task = %(task)s
         and (%(split)s::text is null or coalesce(p.split, ehrdb.split_of(p.patient_id)) = %(split)s)
       order by l.patient_id, l.prediction_time, l.ctid) to stdout (format csv);

-- name: has_head
-- whether predictions can be made
select from ehrdb.head where target = %(task)s and encoder_id = %(encoder_id)s;
