create or replace view ehr.task with (security_invoker = true) as
select t.task, t.task_group, t.kind, t.description, t.declaration,
       coalesce(n.labels, 0) as labels, coalesce(n.positives, 0) as positives
  from ehrdb.task t
  left join lateral (
    select count(*) as labels, count(*) filter (where ehrdb.is_positive(t, l.value)) as positives
      from ehrdb.label l where l.task = t.task) n on true;

comment on view ehr.task is
'Tasks that have been labelled: what they ask, their rule, and how many labels there are.
Example: select task, labels, positives from ehr.task;';

comment on column ehr.task.task is 'The task''s name.';
comment on column ehr.task.task_group is 'The group of tasks it belongs to.';
comment on column ehr.task.kind is 'What its labels are, such as binary.';
comment on column ehr.task.description is 'What it asks, in words.';
comment on column ehr.task.declaration is 'Its rule, as JSON.';
comment on column ehr.task.labels is 'How many labels it has.';
comment on column ehr.task.positives is 'How many of them are positive.';
