-- name: server
-- is it a standby or read-only, how far is its clock from ours (seconds)
select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean,
       extract(epoch from clock_timestamp())::float8;

-- name: time_limits
-- limits that can end a load, a refresh or an index build half-way
select name, setting || coalesce(unit, '') from pg_settings
 where name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout') and setting <> '0'
 order by name;

-- name: vector_version
-- version of the installed extension, and the newest that the server has files of
select x.extversion, a.default_version
  from pg_extension x left join pg_available_extensions a on a.name = x.extname
 where x.extname = 'vector';

-- name: may_read
-- may this role look into the schemas (null: there is none), and read a table of them
select has_schema_privilege(s.oid, 'usage'),
       (select bool_and(has_table_privilege(c.oid, 'select')) from pg_class c
         where c.relnamespace = s.oid and c.relname in ('schema_state', 'patient', 'event', 'concept'))
  from (select max(oid) as oid from pg_namespace where nspname = 'ehrdb') s;

-- name: ungranted
-- what analysts cannot reach: the right, and the object
select 'usage on schema ' || nspname from pg_namespace
 where nspname in ('ehr', 'ehrdb') and not has_schema_privilege(%(role)s, oid, 'usage')
union all
select 'usage on schema ' || quote_ident(n.nspname) from pg_extension x join pg_namespace n on n.oid = x.extnamespace
 where x.extname = 'vector' and not has_schema_privilege(%(role)s, n.oid, 'usage')
union all
select 'select on ' || oid::regclass from pg_class
 where relnamespace = to_regnamespace('ehr') and relkind = 'v' and not has_table_privilege(%(role)s, oid, 'select')
union all
select 'execute on routine ' || oid::regprocedure from pg_proc
 where pronamespace = to_regnamespace('ehr') and not has_function_privilege(%(role)s, oid, 'execute');

-- name: encoders_without_vectors
-- encoders with heads and without a single vector
select e.name, count(*) from ehrdb.encoder e join ehrdb.head h using (encoder_id)
 where not exists (select from ehrdb.patient_embedding p where p.encoder_id = e.encoder_id)
 group by e.name order by e.name;

-- name: tasks_without_head
-- labelled tasks that the serving encoder cannot answer
select t.task from ehrdb.task t
 where exists (select from ehrdb.label l where l.task = t.task)
   and not exists (select from ehrdb.head h join ehrdb.encoder e using (encoder_id) where h.task = t.task and e.is_serving)
   and exists (select from ehrdb.encoder where is_serving)
 order by t.task;

-- name: given_up
-- contents that were tried five times
select e.name, count(*) from ehrdb.embedding_job j join ehrdb.encoder e using (encoder_id)
 where j.is_dead group by e.name order by e.name;

-- name: placed
-- of which share of each source's events the rules of formats know the category, at its last load
select r.source, substr(r.source_table, length('format rules: ') + 1), r.rows_loaded::float8 / r.rows_read
  from ehrdb.load_report r
 where starts_with(r.source_table, 'format rules: ') and r.rows_read > 0
   and r.load_id = (select max(l.load_id) from ehrdb.load_report l where l.source = r.source)
 order by 1, 2;
