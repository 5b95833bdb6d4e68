-- Labels of a survival task are days: to the outcome, or, negative, to when the patient was last known to be without it.
alter table ehrdb.task drop constraint task_kind_check;
alter table ehrdb.task add constraint task_kind_check
    check (kind in ('binary', 'multiclass', 'multilabel', 'survival'));

-- What ehr.survival returns.
create type ehrdb.survival as (patient_id bigint, days integer, survival float8, as_of timestamp, is_stale boolean);
