-- name: ask_only
-- until this savepoint is rolled back nothing can be written, and names mean what they do in the caller's own sessions
select set_config('transaction_read_only', 'on', true), set_config('search_path', '"$user", public', true);

-- name: record
-- who asks what about whom; a standby takes no note
select ehrdb.record(%(what)s, %(patients)s::bigint[], %(cohort_size)s) where not pg_is_in_recovery();
