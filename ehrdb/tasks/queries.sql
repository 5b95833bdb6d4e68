-- put_task: remember what a task is
insert into ehrdb.task (task, task_group, kind, description, declaration)
values (%(task)s, %(task_group)s, %(kind)s, %(description)s, %(declaration)s)
on conflict (task) do update
   set task_group = excluded.task_group, kind = excluded.kind, description = excluded.description,
       declaration = excluded.declaration;

-- label: the task's labels anew
select labels, positives from ehrdb.label_task(%(task)s);
