-- name: put_task
-- remember what a task is
insert into ehrdb.task (task, task_group, kind, description, declaration)
values (%(task)s, %(task_group)s, %(kind)s, %(description)s, %(declaration)s)
on conflict (task) do update
   set task_group = excluded.task_group, kind = excluded.kind, description = excluded.description,
       declaration = excluded.declaration;

-- name: label
-- the task's labels anew
select labels, positives, has_codes, in_open_stays from ehrdb.label_task(%(task)s);

-- name: find_task
-- a task by its name
select task_group, description, declaration from ehrdb.task where task = %(task)s;

-- name: site_tasks
-- those that a site added
select task from ehrdb.task where declaration ->> 'shape' in ('outcome_in_window', 'aces', 'cohort', 'survival', 'imported') order by task;

-- name: missing_codes
-- which of these codes and regular expressions stand for nothing here
select n.name
  from unnest(%(codes)s::text[]) as n (name)
 where not exists (select from ehrdb.concept c
                    where c.code = n.name or (n.name like '%%*' and starts_with(c.code, left(n.name, -1))))
union all
select p.pattern
  from unnest(%(patterns)s::text[]) as p (pattern)
 where not exists (select from ehrdb.concept c where c.code ~ p.pattern);

-- name: empty_cohorts
-- which of these cohorts have no row, and where
select n.id, ehrdb.site_table('cohort_table', 'results.cohort')::text
  from unnest(%(cohorts)s::integer[]) as n (id)
 where not exists (select from ehrdb.cohort_row(n.id));

-- name: missing_columns
-- which of these columns no event has
select n.name
  from unnest(%(columns)s::text[]) as n (name)
 where not exists (select from ehrdb.event e where e.extra ? n.name);

-- name: drop_task
-- with its labels and heads
delete from ehrdb.task where task = %(task)s;

-- name: tasks
-- what is known of every task here
select t.task, t.task_group, t.description, t.labels, t.positives,
       (select count(*) from ehrdb.head h where h.task = t.task) as heads
  from ehr.task t;
