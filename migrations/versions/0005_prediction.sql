-- Prediction: tasks, their labels, and the heads trained on them.

create table ehrdb.task (
    task        text primary key,
    task_group  text not null,
    kind        text not null check (kind in ('binary', 'multiclass', 'multilabel')),
    description text not null,
    declaration jsonb not null
);

-- Several labels may share a time (two results in one minute), hence no natural key.
create table ehrdb.label (
    task            text not null references ehrdb.task on delete cascade,
    patient_id      bigint not null,
    prediction_time timestamp not null,
    value           integer not null
);
create index label_by_task on ehrdb.label (task, patient_id, prediction_time);
create index label_by_patient on ehrdb.label (patient_id);

-- `target` is the task, or one finding of a multilabel task (chexpert_edema). A head is a folded linear classifier:
-- probability = calibration(weights . embedding + intercept).
create table ehrdb.head (
    head_id           integer generated always as identity primary key,
    task              text not null references ehrdb.task on delete cascade,
    target            text not null,
    encoder_id        integer not null references ehrdb.encoder on delete cascade,
    prompt_id         integer not null references ehrdb.prompt,
    weights           public.vector not null,
    intercept         float8 not null,
    calibration_slope float8 not null default 1,
    calibration_shift float8 not null default 0,
    provenance        jsonb not null,
    trained_at        timestamptz not null default now(),
    unique (target, encoder_id)
);
alter table ehrdb.head alter column weights set storage plain;

-- What ehr.predict_cohort returns.
create type ehrdb.prediction as (patient_id bigint, probability float8, as_of timestamp, is_stale boolean);

-- What ehr.predict_cohort returns for many tasks.
create type ehrdb.task_prediction as (
    task text, patient_id bigint, probability float8, as_of timestamp, is_stale boolean
);

-- Probabilities as `ehrdb predict --materialize` left them.
create table ehrdb.patient_prediction (
    head_id      integer not null references ehrdb.head on delete cascade,
    patient_id   bigint not null,
    probability  float8 not null,
    as_of        timestamp not null,
    predicted_at timestamptz not null default now(),
    primary key (head_id, patient_id)
);
create index patient_prediction_by_patient on ehrdb.patient_prediction (patient_id);
