-- put_task: remember what a task is
insert into ehrdb.task (task, task_group, kind, description, declaration)
values (%(task)s, %(task_group)s, %(kind)s, %(description)s, %(declaration)s)
on conflict (task) do update
   set task_group = excluded.task_group, kind = excluded.kind, description = excluded.description,
       declaration = excluded.declaration;

-- label: the task's labels anew
select labels, positives from ehrdb.label_task(%(task)s);

-- labelled: patients, moments, labels and splits of a task, in the protocol's order
select l.patient_id, l.prediction_time, l.value, coalesce(p.split, ehrdb.split_of(p.patient_id))
  from ehrdb.label l
  join ehrdb.patient p using (patient_id)
 where l.task = %(task)s
 order by l.patient_id, l.prediction_time;
