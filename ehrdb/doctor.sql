-- name: server
-- is it a standby or read-only, how far is its clock from ours (seconds)
select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean,
       extract(epoch from clock_timestamp())::float8;

-- name: time_limits
-- limits that can end a load, a refresh or an index build half-way
select name, setting || coalesce(unit, '') from pg_settings
 where name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout') and setting <> '0'
 order by name;

-- name: quoted_questions
-- what the server's log quotes each question by, where functions note themselves in it
select 'log_min_error_statement is ' || current_setting('log_min_error_statement')
  from ehrdb.schema_state
 where notes_functions and current_setting('log_min_error_statement') not in ('fatal', 'panic');

-- name: vector_version
-- version of the installed extension, and the newest that the server has files of
select x.extversion, a.default_version
  from pg_extension x left join pg_available_extensions a on a.name = x.extname
 where x.extname = 'vector';

-- name: may_read
-- may this role look into the schemas (null: there is none), and read a table of them
select has_schema_privilege(s.oid, 'usage'),
       (select bool_and(has_any_column_privilege(c.oid, 'select')) from pg_class c
         where c.relnamespace = s.oid and c.relname in ('schema_state', 'patient', 'event', 'concept'))
  from (select max(oid) as oid from pg_namespace where nspname = 'ehrdb') s;

-- name: reading_role
-- the role for analysts under its configured name, as anybody can tell from the catalogue
select r.rolname
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 cross join aclexplode(c.relacl) a
  join pg_roles r on r.oid = a.grantee
 where n.nspname = 'ehr' and c.relname = 'patient' and r.rolname like '%\_analyst'
 order by 1
 limit 1;

-- name: roles
-- the three roles: is each there, and is the one that administers a member of the owner (where that is no superuser)
select s.roles || '_' || d.duty, r.oid is not null,
       d.duty <> 'admin' or coalesce(o.rolsuper or pg_has_role(r.oid, o.oid, 'member'), true)
  from ehrdb.schema_state s
 cross join (values ('analyst'), ('worker'), ('admin')) d (duty)
  join pg_namespace n on n.nspname = 'ehrdb'
  join pg_roles o on o.oid = n.nspowner
  left join pg_roles r on r.rolname = s.roles || '_' || d.duty
 order by 1;

-- name: grant_faults
-- rights that a role lacks or should not have, what to do, and who
select role, fault, what, 'ehrdb upgrade' || case when fault = 'lacks' then format(' (or: grant %s to %I;)', what, role)
       else format(' (or, for what everybody has: revoke %s from public;)', what) end, 'owner'
  from ehrdb.grant_fault
union all
select r.rolname, 'lacks', 'usage on schema ' || quote_ident(n.nspname),
       format('grant usage on schema %I to %I;', n.nspname, r.rolname), 'superuser'
  from pg_extension x
  join pg_namespace n on n.oid = x.extnamespace
  join ehrdb.schema_state s on true
  join pg_roles r on r.rolname in (s.roles || '_analyst', s.roles || '_worker')
 where x.extname = 'vector' and not has_schema_privilege(r.oid, n.oid, 'usage');

-- name: open_schema
-- whether everybody may create objects there
select exists (select from pg_namespace n, aclexplode(n.nspacl) a
                where n.nspname = %(schema)s and a.grantee = 0 and a.privilege_type = 'CREATE');

-- name: leaking_protection
-- views that policies ask, and that are no security barrier
select n.nspname, c.relname
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.oid = any (ehrdb.leaking_views(array(
           select d.refobjid::regclass from pg_policy p join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
            where p.polname = 'visible' and d.refclassid = 'pg_class'::regclass)))
   and n.nspname not in ('ehr', 'ehrdb')
 order by 1, 2;

-- name: open_tables
-- where ehr.protect is on: tables about patients that show more than it says, and what to do
with ours as (
    select c.oid, c.relname, c.relrowsecurity from pg_class c
     where (c.oid = 'ehrdb.embedding'::regclass or c.oid in (select ehrdb.patient_tables()))
       and exists (select from pg_policy p join pg_class t on t.oid = p.polrelid
                    where p.polname = 'visible' and t.relnamespace = c.relnamespace)
)
select o.relname, 'has no row-level security', 'select ehrdb.protect_tables();' from ours o
 where not (o.relrowsecurity and exists (select from pg_policy p where p.polrelid = o.oid and p.polname = 'visible'))
union all
select o.relname, 'has another policy, which adds to what is seen', format('drop policy %I on ehrdb.%I;', p.polname, o.relname)
  from ours o
  join pg_policy p on p.polrelid = o.oid
 where p.polname <> 'visible' and p.polpermissive
   and (0 = any (p.polroles) or exists (select from ehrdb.wanted_grant w join pg_roles r on r.rolname = w.role
                                         where w.duty = 'analyst' and r.oid = any (p.polroles)))
union all
select c.relname, 'is a partition that shows everything to who may read it', 'select ehrdb.protect_tables();'
  from pg_class c
 where c.relnamespace = to_regnamespace('ehrdb') and c.relkind = 'r' and c.relispartition and not c.relrowsecurity
 order by 1, 2;

-- name: may_read_protection
-- whether this role may know what ehr.protect was told
select has_table_privilege('ehrdb.protection', 'select');

-- name: renamed_protection
-- what ehr.protect was told, where nothing has that name
select p.visible from ehrdb.protection p where to_regclass(p.visible) is null;

-- name: filtered
-- rows are hidden again rather than an error
select set_config('row_security', 'on', true);

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

-- name: unindexed
-- encoders that search would use an index of, and that have none that is whole
select e.name, sum(f.embedded)
  from ehrdb.encoder e
  join ehrdb.figure f using (encoder_id)
  left join pg_index i on i.indexrelid = to_regclass('ehrdb.patient_embedding_' || e.encoder_id || '_hnsw')
 where i.indisvalid is not true
 group by e.name
having sum(f.embedded) > ehrdb.exact_search_bound()
 order by e.name;

-- name: placed
-- of which share of each source's events the rules of formats know the category, at the last load of all
select r.source, substr(r.source_table, length('format rules: ') + 1), r.rows_loaded::float8 / r.rows_read
  from ehrdb.load_report r
 where r.kind = 'rules' and r.rows_read > 0
   and r.load_id = (select max(l.load_id) from ehrdb.load_report l where l.source = r.source and l.kind = 'rules')
 order by 1, 2;
