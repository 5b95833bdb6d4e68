-- name: ask_only
-- until this savepoint is rolled back nothing can be written, and names mean what they do in the caller's own sessions
select set_config('transaction_read_only', 'on', true), set_config('search_path', '"$user", public', true);

-- name: record
-- who asks what about whom; a standby takes no note
select ehrdb.record(%(what)s, %(patients)s::bigint[], %(cohort_size)s) where not pg_is_in_recovery();

-- name: members
-- the patients of an OMOP cohort
select ehr.cohort(%(cohort_definition_id)s);

-- name: cohort_table
-- the site's, whether it is there yet or not, as the parts of its name
select parse_ident(coalesce(nullif(current_setting('ehrdb.cohort_table', true), ''), 'results.cohort'));

-- name: make
-- as the OMOP CDM defines it
create table if not exists {table} (
    cohort_definition_id integer not null,
    subject_id           bigint not null,
    cohort_start_date    date not null,
    cohort_end_date      date not null
);

-- name: require_plain
-- writing there runs nobody's code
select ehrdb.require_plain(to_regclass(%(name)s), true);

-- name: require_plain_to_read
-- nor reading there, where it is a table
select ehrdb.require_plain(to_regclass(%(name)s));

-- name: has_rows
-- of this cohort
select from {table} where cohort_definition_id = %(cohort_definition_id)s limit 1;

-- name: write
-- patients, from their first event to their last at or before as_of
insert into {table} (cohort_definition_id, subject_id, cohort_start_date, cohort_end_date)
select %(cohort_definition_id)s, e.patient_id, min(e.time)::date, max(e.time)::date
  from ehr.event e
 where e.patient_id in (select p from unnest(%(patients)s::bigint[]) p) and isfinite(e.time) and e.time <= %(as_of)s
 group by e.patient_id;
