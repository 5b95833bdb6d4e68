-- name: read_pairs
-- whom a query selects and as of when; how many rows are of nobody or of no moment; whether moments have a zone
select array_agg(p.patient_id) filter (where p.is_whole), array_agg(p.as_of) filter (where p.is_whole),
       count(*) filter (where not p.is_whole), coalesce(bool_or(p.has_zone), false)
  from (select q.patient::bigint as patient_id, q.moment::timestamp as as_of,
               pg_typeof(q.moment) = 'timestamptz'::regtype as has_zone,
               q.patient is not null and coalesce(q.moment::timestamp between '0001-01-01' and '9999-12-31', false) as is_whole
          from ({query}
               ) q (patient, moment)) p;

-- name: cohort_moments
-- who enters an OMOP cohort, and when
select patient_ids, as_ofs from ehr.cohort_moments(%(cohort_definition_id)s);

-- name: entries_of_cohort
-- the same as rows
select u.patient, u.moment
  from ehr.cohort_moments({cohort_definition_id}) c, unnest(c.patient_ids, c.as_ofs) u (patient, moment)

-- name: entries_of_table
-- who enters a cohort of another table, and when
select c.subject_id, c.cohort_start_date + time '23:59'
  from {table} c where c.cohort_definition_id = {cohort_definition_id}

-- name: own_names
-- until this savepoint is rolled back names mean what they do in the caller's own sessions
select set_config('search_path', '"$user", public', true);

-- name: table_columns
-- a table's schema and name, and the names of its columns
select n.nspname, c.relname,
       array(select a.attname::text from pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.oid = to_regclass(%(name)s);

-- name: file_columns
-- what a file calls its columns
select a.attname::text from pg_attribute a
 where a.attrelid = 'pg_temp.raw_index_date'::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> 'row';

-- name: stage_file
-- its rows as pairs
create temp table index_date_staging on commit drop as
select r.row, ehrdb.to_bigint(j.fields ->> %(patient)s) as patient_id, ehrdb.to_time(j.fields ->> %(moment)s) as as_of
  from pg_temp.raw_index_date r
 cross join lateral (select to_jsonb(r) as fields) j;

-- name: problem_table
-- what cannot be taken
create temp table if not exists load_problem (
    file text, source_table text, row bigint, column_name text, problem text
) on commit drop;

-- name: check_file
-- rows that are no pairs
insert into pg_temp.load_problem (source_table, row, column_name, problem)
select 'index_date', s.row, rule.column_name, rule.problem
  from pg_temp.index_date_staging s
 cross join lateral (values
       (%(patient)s, 'is not a whole number', s.patient_id is null),
       (%(moment)s, 'is not a date or time', s.as_of is null or not isfinite(s.as_of))
       ) as rule (column_name, problem, is_broken)
 where rule.is_broken;

-- name: file_pairs
-- in the file's order
select array_agg(s.patient_id order by s.row), array_agg(s.as_of order by s.row) from pg_temp.index_date_staging s;

-- name: drop_staging
-- before the next file
drop table pg_temp.index_date_staging, pg_temp.raw_index_date, pg_temp.load_problem;
